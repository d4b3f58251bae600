"""The reconfigurable trigger: fixed point, datapath, payloads, boards and their registers."""
