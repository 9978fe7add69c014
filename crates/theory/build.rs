//! Turns the `LaTeX` formulas of `docs/*.md` into `MathML`, which browsers show without any script.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, push_mathml};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=docs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for entry in fs::read_dir("docs")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path)?;
            let name = path.file_name().ok_or("a file has a name")?;
            fs::write(out.join(name), typeset(&text, &path)?)?;
        }
    }
    Ok(())
}

/// Rustdoc lets paragraphs scroll; a formula that is a little higher than its line would get a scroll bar.
const STYLE: &str = "\n\n<style>.docblock > p { overflow: visible !important; }</style>\n";

/// Replaces `$$…$$` by displayed and `$…$` by inline formulas; code, in backquotes, is left alone.
fn typeset(text: &str, path: &Path) -> Result<String, Box<dyn Error>> {
    let mut page = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '`']) {
        let (before, found) = rest.split_at(at);
        page.push_str(before);
        let mark = ["```", "`", "$$", "$"].into_iter().find(|mark| found.starts_with(mark)).unwrap_or("$");
        let line = text[..text.len() - found.len()].lines().count();
        let unclosed = || format!("{}:{line}: `{mark}` is opened and not closed", path.display());
        let inside = &found[mark.len()..];
        let end = inside.find(mark).ok_or_else(unclosed)?;
        let body = &inside[..end];
        match mark {
            "$$" => page.push_str(&mathml(body, DisplayMode::Block, path, line)?),
            "$" => page.push_str(&mathml(body, DisplayMode::Inline, path, line)?),
            _ => page.extend([mark, body, mark]),
        }
        rest = &inside[end + mark.len()..];
    }
    page.push_str(rest);
    page.push_str(STYLE);
    Ok(page)
}

fn mathml(formula: &str, display_mode: DisplayMode, path: &Path, line: usize) -> Result<String, Box<dyn Error>> {
    let storage = Storage::new();
    let events: Vec<_> = Parser::new(formula, &storage).collect();
    if let Some(Err(error)) = events.iter().find(|event| event.is_err()) {
        return Err(format!("{}:{line}: {formula}: {error}", path.display()).into());
    }
    let mut out = String::new();
    push_mathml(&mut out, events.into_iter(), RenderConfig { display_mode, ..RenderConfig::default() })?;
    // A blank line would end the block of HTML. The renderer leaves out a space before one attribute, and escapes its own spaces.
    let line = out.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    Ok(escape(&line.replace("\"minsize", "\" minsize").replace("&amp;nbsp;", "&#160;")))
}

/// Outside of tags Markdown still reads its own marks, `*` for one; as character references they are left alone.
fn escape(html: &str) -> String {
    let mut out = String::new();
    let mut in_tag = false;
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' => in_tag = false,
            _ => {}
        }
        if !in_tag && "*_[]\\`~|'".contains(character) {
            out.extend(["&#", &u32::from(character).to_string(), ";"]);
        } else {
            out.push(character);
        }
    }
    out
}
