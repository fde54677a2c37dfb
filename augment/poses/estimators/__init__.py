"""Programs that find the 18 joints of OpenPose in images of one person."""
