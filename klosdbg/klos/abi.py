"""The structures of ``guest/include/klos_abi.h``, field by field under their C names.

A test compares every name, offset and size with what the C compiler made of the header.
"""

from dataclasses import dataclass

from klosdbg.klos.layout import (
    U8,
    U16,
    U32,
    U64,
    Char8,
    Char12,
    Char24,
    Char28,
    Char40,
    Char64,
    Char80,
    Char96,
    Char124,
    U32x2,
)


@dataclass(frozen=True, slots=True)
class KlosArray:
    """An array: linear address, number of entries, bytes of an entry."""

    address: U32
    count: U32
    entry_size: U32


@dataclass(frozen=True, slots=True)
class KlosFrame:
    """What the event core saves on its stack; a thread's context has the same layout."""

    request: U32
    origin: U32
    esp0: U32
    cr3: U32
    cr2: U32
    dr6: U32
    gs: U32
    fs: U32
    es: U32
    ds: U32
    edi: U32
    esi: U32
    ebp: U32
    esp_pushed: U32
    ebx: U32
    edx: U32
    ecx: U32
    eax: U32
    vector: U32
    error_code: U32
    eip: U32
    cs: U32
    eflags: U32
    esp: U32
    ss: U32


@dataclass(frozen=True, slots=True)
class KlosSite:
    """One place that holds the DSOS selector and is rewritten at each relocation."""

    immediate: U32
    start: U32
    loaded: U32
    end: U32
    kind: U16
    width: U16
    service: U32
    name: Char24


@dataclass(frozen=True, slots=True)
class KlosService:
    """A service: its number, its code, and its Design B prologue, at linear addresses."""

    number: U32
    function: U32
    prologue: U32
    end: U32
    name: Char24


@dataclass(frozen=True, slots=True)
class KlosProcess:
    """A process. ``cr3`` and ``iomap_frames`` are physical addresses."""

    pid: U32
    state: U32
    parent: U32
    cr3: U32
    iomap_frames: U32x2
    threads: U32
    frames: U32
    heap_start: U32
    heap_end: U32
    exception_handler: U32
    faults: U32
    exit_code: U32
    end_vector: U32
    messages: U32
    flags: U32
    name: Char24
    arguments: Char40


@dataclass(frozen=True, slots=True)
class KlosName:
    """Who had a pid, also after its process has gone; slot ``pid % count``."""

    pid: U32
    name: Char24


@dataclass(frozen=True, slots=True)
class KlosThread:
    """A thread. Stacks and ``context`` are linear addresses."""

    tid: U32
    pid: U32
    state: U32
    wait: U32
    wait_object: U32
    wake_tick: U32
    priority: U32
    entry: U32
    stack_bottom: U32
    stack_top: U32
    os_stack_bottom: U32
    os_stack_top: U32
    ticks: U32
    preemptions: U32
    switches: U32
    context: U32


@dataclass(frozen=True, slots=True)
class KlosRelocation:
    """One relocation of DSOS."""

    seq: U32
    old_selector: U16
    new_selector: U16
    cause: U16
    sites: U16
    rewound: U16
    corrected: U16
    np_faults: U32
    pid: U32
    tid: U32
    eip: U32
    time: U64


@dataclass(frozen=True, slots=True)
class KlosEvent:
    """One event from stub to resumption; ``seq`` is 0 while the entry is being filled."""

    seq: U32
    vector: U8
    depth: U8
    origin: U8
    flags: U8
    error_code: U32
    eip: U32
    esp: U32
    cs: U16
    ss: U16
    cr2: U32
    handler: U32
    pid: U16
    tid: U16
    resumed_eip: U32
    resumed_pid: U16
    resumed_tid: U16
    handler_esp: U32
    esp0: U32
    handler_ss: U16
    reserved: U16
    time_stub: U64
    time_in: U64
    time_out: U64


@dataclass(frozen=True, slots=True)
class KlosPanic:
    """Why the system stopped for good."""

    vector: U32
    pid: U32
    tid: U32
    depth: U32
    cr0: U32
    cr2: U32
    cr3: U32
    cr4: U32
    reason: Char64
    frame: KlosFrame


@dataclass(frozen=True, slots=True)
class KlosReport:
    """The outcome of a self-test or of an attack."""

    name: Char28
    result: U32
    held: U32
    claim: Char96
    reason: Char124


@dataclass(frozen=True, slots=True)
class KlosBench:
    """One row of figure 4: ticks of the time stamp counter for one call."""

    mechanism: Char12
    situation: Char12
    runs: U32
    minimum: U32
    median: U32
    mean: U32
    maximum: U32
    overhead: U32


@dataclass(frozen=True, slots=True)
class KlosMailbox:
    """Where the debugger asks the running guest for something."""

    status: U32
    argument: U32
    result: U32
    served: U32
    command: Char64
    text: Char80


@dataclass(frozen=True, slots=True)
class KlosApplication:
    """An application that the image holds."""

    entry: U32
    kind: U32
    name: Char24
    purpose: Char96


@dataclass(frozen=True, slots=True)
class KlosInfo:
    """What KLOS tells a debugger about itself. Addresses are linear."""

    magic: Char8
    version: U32
    size: U32
    sequence: U32
    flags: U32
    build_id: Char40
    csos: U16
    dsapp: U16
    dsos: U16
    core_code: U16
    core_data: U16
    tss_selector: U16
    ldt_selector: U16
    gate_selector: U16
    fault_tss_selector: U16
    commit_vector: U16
    trap_vector: U16
    irq_vector: U16
    gdt: U32
    gdt_limit: U32
    ldt: U32
    ldt_limit: U32
    idt: U32
    idt_limit: U32
    tss: U32
    tss_limit: U32
    iomap: U32
    iomap_size: U32
    app_base: U32
    app_top: U32
    os_base: U32
    physical_size: U32
    window_base: U32
    os_page_directory: U32
    os_text_start: U32
    os_text_end: U32
    core_text_start: U32
    core_text_end: U32
    return_gate: U32
    idle_site: U32
    frame_size: U32
    core_stack_bottom: U32
    core_stack_top: U32
    handler_stack_bottom: U32
    handler_stack_top: U32
    stubs: KlosArray
    handlers: KlosArray
    event_depth: U32
    current_thread: U32
    current_pid: U32
    preempt_off: U32
    service_table: KlosArray
    services: KlosArray
    sites: KlosArray
    processes: KlosArray
    threads: KlosArray
    frames: KlosArray
    applications: KlosArray
    relocation_log: KlosArray
    events: KlosArray
    selftests: KlosArray
    attacks: KlosArray
    bench: KlosArray
    mailbox: U32
    panic: U32
    seed: U32
    random_draws: U32
    random_state: U64
    event_count: U32
    tick_count: U32
    tick_rate: U32
    switch_count: U32
    np_faults: U32
    np_retried: U32
    relocations: U32
    gate_abuses: U32
    dsos_caught: U32
    process_faults: U32
    processes_started: U32
    processes_ended: U32
    nmi_count: U32
    spurious_irqs: U32
    free_frames: U32
    total_frames: U32
    events_on: U32
    names: KlosArray


STRUCTURES: dict[str, type] = {
    "klos_array": KlosArray,
    "klos_frame": KlosFrame,
    "klos_site": KlosSite,
    "klos_service": KlosService,
    "klos_process": KlosProcess,
    "klos_name": KlosName,
    "klos_thread": KlosThread,
    "klos_relocation": KlosRelocation,
    "klos_event": KlosEvent,
    "klos_panic": KlosPanic,
    "klos_report": KlosReport,
    "klos_bench": KlosBench,
    "klos_mailbox": KlosMailbox,
    "klos_application": KlosApplication,
    "klos_info": KlosInfo,
}
