"""How good generated images are: metrics, each with source, unit and direction; and the gate that rejects bad ones."""
