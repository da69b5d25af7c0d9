"""How a report looks: its style sheet, which is all that the page brings along."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --faint: #5d6b7c; --page: #fbfbfa;
  --band: #f0f1f3; --rule: #d5d9df; --fault: #c2352b; --irq: #2b6cb0; --call: #7a4bb0;
  --code: #2b6cb0; --data: #2f855a; --system: #b7791f; --gate: #7a4bb0; --absent: #d5d9df;
  --named: #c2352b }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #9aa7b8; --page: #14181e;
  --band: #1c222b; --rule: #343d4a; --fault: #ff7b6e; --irq: #6cb0f5; --call: #b794f4;
  --code: #6cb0f5; --data: #68c391; --system: #f0b955; --gate: #b794f4; --absent: #343d4a;
  --named: #ff7b6e } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 64px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 4px; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 40px 0 8px }
h3 { font-size: .95rem; margin: 20px 0 6px; overflow-wrap: anywhere }
p { margin: 6px 0; max-width: 75ch; overflow-wrap: anywhere }
ol { margin: 12px 0; padding-left: 1.4em }
ol li { margin: 3px 0; overflow-wrap: anywhere }
nav { margin: 8px 0 0; font-size: .88rem }
nav a { color: var(--irq); margin-right: 10px; display: inline-block }
.faint { color: var(--faint); fill: var(--faint) }
.bad { color: var(--fault) }
.wide { overflow-x: auto; border: 1px solid var(--rule); border-radius: 6px; margin: 8px 0;
  padding: 8px }
.tall { max-height: 480px; overflow-y: auto }
table { border-collapse: collapse; font: 13px/1.45 ui-monospace, monospace; white-space: nowrap }
th, td { text-align: left; padding: 2px 14px 2px 0; vertical-align: top }
th { color: var(--faint); font-weight: 500; border-bottom: 1px solid var(--rule) }
td.number, th.number { text-align: right }
.wrap td:last-child { white-space: normal; overflow-wrap: anywhere; min-width: 16em }
pre { margin: 0; font: 13px/1.45 ui-monospace, monospace }
svg { display: block; max-width: none }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .85rem; margin: 6px 0 }
.key svg { display: inline-block; margin-right: 6px; vertical-align: -1px }
.band { fill: var(--band) } .rule { stroke: var(--rule) }
.fault { fill: var(--fault) } .irq { fill: var(--irq) } .call { fill: var(--call) }
.unmeasured { opacity: .45 }
.code { fill: var(--code) } .data { fill: var(--data) } .system { fill: var(--system) }
.gate { fill: var(--gate) } .absent { fill: var(--absent) } .empty { fill: var(--band) }
.mesh { stroke: var(--page); fill: none }
.open { fill: var(--data) }
.named { fill: none; stroke: var(--named); stroke-width: 1.5 }
@media (max-width: 600px) { body { padding: 16px 12px 48px } .wide { padding: 6px } }
@media print { .tall { max-height: none } }
"""
