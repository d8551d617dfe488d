"""How a report looks: one column for screen and paper, light or dark as the reader's system asks."""

STYLE = """\
:root {
  --paper: #fdfdfc; --ink: #1c1e21; --quiet: #5c6370; --line: #dcdfe4; --link: #0b5cad;
  --note: #eef4fa; --note-edge: #0072b2; --warn: #fdf1e6; --warn-edge: #d55e00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --ink: #e3e5e8; --quiet: #9aa2ae; --line: #33383f; --link: #79b8f3;
    --note: #1a2530; --note-edge: #56b4e9; --warn: #30231a; --warn-edge: #e69f00;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 47rem; margin: 0 auto; padding: 3rem 1.25rem 2rem; }
h1 { font-size: 1.85rem; font-weight: 600; line-height: 1.2; letter-spacing: -.01em; margin: 0 0 .75rem; }
h2 { font-size: 1.15rem; font-weight: 600; line-height: 1.3; margin: 0 0 .6rem; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.25rem 0 .4rem; }
h1, h2, p, li, th, td, figcaption { overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; }
.summary { font-size: 1.15rem; line-height: 1.5; color: var(--quiet); }
section { margin: 2.25rem 0 0; }
.verdict { margin-top: 1.5rem; padding: .9rem 1.1rem; background: var(--note); border-left: .5rem solid #009e73; }
.verdict.careful { background: var(--warn); border-color: #e69f00; }
.verdict.bad { background: var(--warn); border-color: var(--warn-edge); }
.verdict h2 { font-size: 1.3rem; margin: 0 0 .35rem; }
.verdict ul { margin: 0; padding-left: 1.1rem; }
.notes { padding: .9rem 1.1rem; background: var(--note); border-left: .25rem solid var(--note-edge); }
.notes.warnings { background: var(--warn); border-color: var(--warn-edge); }
.notes + .notes { margin-top: 1rem; }
.notes h2 { font-size: 1rem; margin-bottom: .35rem; }
.notes ul { margin: 0; padding-left: 1.1rem; }
.notes li + li { margin-top: .3rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tr:first-child > * { border-top: 1px solid var(--line); }
th { width: 42%; padding-right: 1.5rem; font-weight: 400; color: var(--quiet); }
figure { margin: 0; }
img {
  display: block; width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: .2rem;
}
figcaption { margin-top: .6rem; }
.methods { font-size: .95rem; }
.references { padding-left: 1.8rem; font-size: .88rem; color: var(--quiet); }
.references li { margin-bottom: .3rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .15em; }
footer {
  margin-top: 3rem; padding-top: .75rem; border-top: 1px solid var(--line); font-size: .85rem; color: var(--quiet);
}
@page { margin: 18mm 16mm; }
@media print {
  :root {
    --paper: #fff; --ink: #000; --quiet: #444; --line: #bbb; --link: #000;
    --note: #f4f4f4; --note-edge: #555; --warn: #f4f4f4; --warn-edge: #000;
  }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section { margin-top: 1.4rem; }
  figure, .notes, .verdict, tr, li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  img { width: auto; max-width: 100%; max-height: 8.6cm; margin: 0 auto; }
  a { text-decoration: none; }
}
"""
