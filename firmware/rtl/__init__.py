"""The datapath and its registers in SystemVerilog, and what writes them for a model."""
