"""Style sheet of the page and its plots, light and dark, wide and narrow; a script, for sorting alone."""

COLOURS = """
:root { color-scheme: light dark;
  --paper: #fdfdfc; --card: #ffffff; --ink: #1c2024; --faint: #6a717a; --rule: #dfe3e7; --bar: #c3ccd6; --mark: #eef3fa;
  --c1: #0b63c4; --c2: #c2410c; --c3: #0f7b4f; --c4: #8b2fb8; --c5: #a8650a; --c6: #b3195c; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1a1e22; --ink: #e4e7ea; --faint: #98a1ab; --rule: #2c3238; --bar: #46505b; --mark: #1d2a3a;
  --c1: #6cb0ff; --c2: #ff9a63; --c3: #58cf9a; --c4: #d39af2; --c5: #e9b85a; --c6: #ff86b8; } }
"""

PLOT = """
svg text { fill: var(--ink); } svg .faint { fill: var(--faint); } svg .end { text-anchor: end; }
svg .mid { text-anchor: middle; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .level { stroke: var(--faint); stroke-dasharray: 4 4; }
svg polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
svg .label { font-weight: 600; paint-order: stroke; stroke: var(--card);
  stroke-width: 3px; stroke-linejoin: round; }
svg .faint.label { font-weight: 400; } svg circle.base { fill: var(--faint); }
svg polyline.s1 { stroke: var(--c1) } svg .s1:not(polyline) { fill: var(--c1) }
svg polyline.s2 { stroke: var(--c2) } svg .s2:not(polyline) { fill: var(--c2) }
svg polyline.s3 { stroke: var(--c3) } svg .s3:not(polyline) { fill: var(--c3) }
svg polyline.s4 { stroke: var(--c4) } svg .s4:not(polyline) { fill: var(--c4) }
svg polyline.s5 { stroke: var(--c5) } svg .s5:not(polyline) { fill: var(--c5) }
svg polyline.s6 { stroke: var(--c6) } svg .s6:not(polyline) { fill: var(--c6) }
"""

PAGE = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; overflow-wrap: anywhere; } p { margin: .3rem 0 .8rem; max-width: 46rem; }
.faint, .faint a { color: var(--faint); } .small { font-size: .86rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .6rem 0 0; } a { color: var(--c1); }
.wide { overflow-x: auto; margin: .3rem 0 1rem; border: 1px solid var(--rule); border-radius: 8px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; } tbody tr:last-child td { border-bottom: 0; }
thead th { color: var(--faint); font-weight: 600; font-size: .8rem; } th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--c1); } th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
tr.reference td, tr.baseline td, tr.published td { color: var(--faint); }
tr.model td:first-child, .best { font-weight: 650; } .best { color: var(--c1); }
.ci { display: block; color: var(--faint); font-weight: 400; font-size: .74rem; line-height: 1.3; }
.bar { display: block; position: relative; height: 5px; min-width: 5.5rem; margin-top: 4px; background: var(--mark);
  border-radius: 3px; }
.bar i { position: absolute; top: 0; bottom: 0; border-radius: 3px; background: var(--bar); }
.bar b { position: absolute; top: -2px; bottom: -2px; width: 2px; background: currentColor; }
ol.rank { list-style: none; margin: .6rem 0 1rem; padding: 0; }
ol.rank li { display: grid; grid-template-columns: 11rem 1fr 9.5rem; gap: .2rem .8rem; align-items: center;
  padding: .28rem 0; } ol.rank .name { overflow-wrap: anywhere; }
ol.rank .track { position: relative; height: 18px; background: var(--mark); border-radius: 4px; }
ol.rank .fill { position: absolute; inset: 0 auto 0 0; background: var(--c1); border-radius: 4px; }
ol.rank .span { position: absolute; top: 8px; height: 2px; background: var(--ink); }
ol.rank .baseline { color: var(--faint); } ol.rank .baseline .fill { background: var(--bar); }
ol.rank .figure { font-variant-numeric: tabular-nums; text-align: right; }
.figure .ci { display: inline; margin-left: .35rem; }
.wide.plot { max-width: 47rem; padding: .5rem; }
svg.plot { display: block; width: 100%; min-width: 30rem; max-width: 47rem; height: auto; font-size: 12px; }
.sheet { display: grid; gap: 4px; margin: .6rem 0 1rem; align-items: center; overflow-x: auto; }
.sheet p { margin: 0; font-size: .84rem; line-height: 1.3; padding-right: .4rem; }
.sheet img, .pair img { display: block; width: 100%; border-radius: 4px; object-fit: cover; aspect-ratio: 1; }
.pair img { object-fit: contain; aspect-ratio: 4 / 3; background: var(--mark); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; padding: 0;
  margin: .6rem 0; list-style: none; }
.cards li { border: 1px solid var(--rule); border-radius: 8px; padding: .6rem; background: var(--card); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; } .cards p { margin: .5rem 0 0; font-size: .86rem;
  line-height: 1.35; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; font-size: .88rem; margin: .4rem 0 1rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; } code { font-size: .92em; }
@media (max-width: 44rem) { body { padding: 1rem .8rem 3rem; } h1 { font-size: 1.4rem; }
  ol.rank li { grid-template-columns: 1fr auto; } ol.rank .track { grid-column: 1 / -1; grid-row: 2; height: 12px; }
  ol.rank .span { top: 5px; } .sheet { grid-template-columns: repeat(var(--n), minmax(3.4rem, 1fr)) !important; }
  .sheet p { grid-column: 1 / -1; margin-top: .4rem; position: sticky; left: 0; width: calc(100vw - 2rem); }
  .cards { grid-template-columns: 1fr; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  th, td { padding: .34rem .5rem; } td:first-child { white-space: normal; min-width: 7rem; } }
@media print { body { max-width: none; } .wide, .sheet { overflow: visible; } }
"""

STYLE = COLOURS + PAGE + PLOT

SCRIPT = """
for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const of = row => row.cells[at].dataset.value ?? (at ? "" : row.cells[at].textContent);
    const compare = (a, b) => a === "" ? 1 : b === "" ? -1 :
      (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b) * (down ? -1 : 1);
    [...body.rows].sort((a, b) => compare(of(a), of(b))).forEach(row => body.append(row));
  });
}
"""
