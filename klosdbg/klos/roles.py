"""The roles that KLOS gives to selectors, and the fields of ``klos_info`` that hold them."""

ROLES = {
    "csos": "csos",
    "dsapp": "dsapp",
    "dsos": "dsos",
    "core_code": "core_code",
    "core_data": "core_data",
    "tss": "tss_selector",
    "fault_tss": "fault_tss_selector",
    "ldt": "ldt_selector",
    "gate": "gate_selector",
}
