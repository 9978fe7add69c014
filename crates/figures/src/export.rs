//! One drawing, three formats.

use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};

use crate::canvas::{BOLD, REGULAR, Trouble};
use crate::figure::Figure;
use crate::{Error, compact, layout, pdf, style};

/// A figure in its three formats. The same description gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// SVG with the text as outlines, so that it looks the same on every machine; the title and the caption are in it as text for
    /// screen readers.
    pub svg: String,
    /// PNG at twice the size in px.
    pub png: Vec<u8>,
    /// PDF with the fonts embedded and the text as text.
    pub pdf: Vec<u8>,
}

/// Makes the three formats.
pub(crate) fn images(figure: &Figure) -> Result<Images, Error> {
    make(figure).map_err(|Trouble(reason)| Error::Render { figure: figure.id.to_owned(), reason })
}

fn make(figure: &Figure) -> Result<Images, Trouble> {
    let (drawing, _) = layout::svg(figure)?;
    let tree = parsed(&drawing)?;
    Ok(Images { svg: svg(&tree, figure)?, png: png(&tree)?, pdf: portable(&tree)? })
}

fn parsed(drawing: &str) -> Result<usvg::Tree, Trouble> {
    let options = usvg::Options { font_family: style::FONT.to_owned(), fontdb: Arc::clone(fonts()), ..usvg::Options::default() };
    usvg::Tree::from_str(drawing, &options).map_err(|error| Trouble(format!("SVG: {error}")))
}

/// The drawing in dots, on white.
pub(crate) fn raster(drawing: &str) -> Result<tiny_skia::Pixmap, Trouble> {
    pixmap(&parsed(drawing)?)
}

fn fonts() -> &'static Arc<usvg::fontdb::Database> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    FONTS.get_or_init(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(REGULAR.to_vec());
        fonts.load_font_data(BOLD.to_vec());
        Arc::new(fonts)
    })
}

fn svg(tree: &usvg::Tree, figure: &Figure) -> Result<String, Trouble> {
    let options = usvg::WriteOptions {
        // A hundredth of a px: the drawing has ten units to the px.
        coordinates_precision: 1,
        transforms_precision: 6,
        indent: usvg::Indent::None,
        ..usvg::WriteOptions::default()
    };
    let text =
        compact::svg(&tree.to_string(&options)).ok_or_else(|| Trouble("SVG: not of the form that usvg 0.45 writes".into()))?;
    let end = text.find('>').filter(|_| text.starts_with("<svg")).ok_or_else(|| Trouble("SVG: no root element".into()))? + 1;
    let (title, caption) = (escape(&figure.title), escape(&plain(&figure.caption)));
    Ok(format!("{}<title>{title}</title><desc>{caption}</desc>{}\n", &text[..end], &text[end..]))
}

fn png(tree: &usvg::Tree) -> Result<Vec<u8>, Trouble> {
    pixmap(tree)?.encode_png().map_err(|error| Trouble(format!("PNG: {error}")))
}

fn pixmap(tree: &usvg::Tree) -> Result<tiny_skia::Pixmap, Trouble> {
    let size = tree.size().to_int_size().scale_by(style::PNG_SCALE).ok_or_else(|| Trouble("PNG: no size".into()))?;
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).ok_or_else(|| Trouble("PNG: no memory".into()))?;
    pixels.fill(tiny_skia::Color::WHITE);
    resvg::render(tree, tiny_skia::Transform::from_scale(style::PNG_SCALE, style::PNG_SCALE), &mut pixels.as_mut());
    Ok(pixels)
}

fn portable(tree: &usvg::Tree) -> Result<Vec<u8>, Trouble> {
    let page = svg2pdf::PageOptions { dpi: 96.0 };
    let bytes =
        svg2pdf::to_pdf(tree, svg2pdf::ConversionOptions::default(), page).map_err(|error| Trouble(format!("PDF: {error}")))?;
    pdf::canonical(&bytes).ok_or_else(|| Trouble("PDF: not of the form that svg2pdf 0.13 writes".into()))
}

/// `Σ_{yx}` as `Σ_yx`.
fn plain(text: &str) -> String {
    text.replace("_{", "_").replace("^{", "^").replace('}', "")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
