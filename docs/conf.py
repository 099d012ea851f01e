"""Settings of the documentation: python -m sphinx -W docs build/docs."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tgim import __version__

project, author, copyright = "tgim", "the tgim authors", "the tgim authors, Apache License 2.0"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown", ".ipynb": "markdown"}
exclude_patterns = ["slurm", "examples", "web", "gallery/*.ipynb", "**/.ipynb_checkpoints"]
html_math_renderer = "mathml"  # every browser shows it, and nothing is loaded for it
html_theme, html_title = "furo", f"tgim {__version__}"
myst_enable_extensions = ["dollarmath", "colon_fence", "substitution"]
EDITOR = Path(__file__).resolve().parents[1] / "build" / "web"  # of docs/browser.py; hosted where it has been built
myst_substitutions = {
    "editor": '<p><a href="web/index.html"><strong>Open the editor</strong></a></p>'
    if (EDITOR / "index.html").is_file()
    else "*These pages were built without the editor; the command below builds it.*"
}
myst_heading_anchors = 3
autodoc_member_order, autodoc_typehints = "bysource", "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring, napoleon_numpy_docstring = True, False
suppress_warnings = ["myst.xref_missing", "myst.header"]  # of included files: their links are those of the repository
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
}


def host_editor(app, failed):
    """Copy the editor beside the pages."""
    if not failed and app.builder.format == "html" and (EDITOR / "index.html").is_file():
        shutil.copytree(EDITOR, Path(app.outdir) / "web", dirs_exist_ok=True)


def read_source(app, docname, source):
    """Turn notebooks into Markdown, and add the models' cards, which are written now, to the page "Model zoo"."""
    file = Path(app.env.doc2path(docname))
    if file.suffix == ".ipynb":
        import cells

        source[0] = cells.as_markdown(source[0], name=file.name)
    if docname == "zoo":
        import zoo

        source[0] += zoo.write(file.parent)
        for part in zoo.files():
            app.env.note_dependency(str(part))


def setup(app):
    """Write formulas as MathML, read notebooks and the models' cards, host the editor."""
    from docutils import nodes
    from latex2mathml.converter import convert

    def inline(translator, node):
        translator.body.append(convert(node.astext()))
        raise nodes.SkipNode

    def block(translator, node):
        translator.body.append(convert(node.astext(), display="block"))
        raise nodes.SkipNode

    app.connect("build-finished", host_editor)
    app.connect("source-read", read_source)
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
