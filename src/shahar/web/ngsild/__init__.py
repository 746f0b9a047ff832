"""The HTTP binding of NGSI-LD (ETSI GS CIM 009 clause 6): a room for each group of resources, and how bodies and
answers are negotiated."""
