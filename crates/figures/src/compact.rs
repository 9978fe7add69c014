//! A shorter way to write the SVG of usvg: the same picture in half the bytes.
//!
//! Outlines of letters are most of a figure. usvg writes every point with absolute coordinates; here each is relative to the one
//! before. Dashes come as one element each; those that follow each other with the same looks become one.

/// The same picture in fewer bytes, or `None` if the text is not as usvg writes it.
pub(crate) fn svg(text: &str) -> Option<String> {
    const START: &str = "<path ";
    const END: &str = "\"/>";
    let mut out = String::with_capacity(text.len());
    // Attributes of the path that is still open in `out`, if others can be joined to it.
    let mut open: Option<&str> = None;
    let mut rest = text;
    while let Some(start) = rest.find(START) {
        let (before, element) = rest.split_at(start);
        let length = element.find(END)?;
        let (attributes, data) = element[..length].split_once(" d=\"")?;
        // Only strokes can be joined: where filled shapes overlap, a hole could appear. Transparent ones would darken.
        let joins = before.is_empty() && open == Some(attributes);
        if !joins {
            close(&mut out, &mut open);
            out.push_str(before);
            out.push_str(attributes);
            out.push_str(" d=\"");
        }
        out.push_str(&relative(data)?);
        let simple = attributes.contains("fill=\"none\"") && !attributes.contains("opacity") && !attributes.contains("transform");
        if simple {
            open = Some(attributes);
        } else {
            out.push_str(END);
        }
        rest = &element[length + END.len()..];
    }
    close(&mut out, &mut open);
    out.push_str(rest);
    Some(out)
}

fn close(out: &mut String, open: &mut Option<&str>) {
    if open.take().is_some() {
        out.push_str("\"/>");
    }
}

/// Path data with absolute `M`, `L`, `Q`, `C` and `Z` and one decimal, written relative. The path begins with an absolute `M`, so that
/// it can stand behind another one.
fn relative(data: &str) -> Option<String> {
    let mut out = String::with_capacity(data.len() / 2);
    let mut words = data.split_whitespace();
    // In tenths, so that nothing is lost by adding up.
    let (mut here, mut start) = ((0_i64, 0_i64), (0_i64, 0_i64));
    let mut last = ' ';
    while let Some(command) = words.next() {
        let points = match command {
            "M" | "L" => 1,
            "Q" => 2,
            "C" => 3,
            "Z" => 0,
            _ => return None,
        };
        let mut coordinates = [(0, 0); 3];
        for point in &mut coordinates[..points] {
            *point = (tenths(words.next()?)?, tenths(words.next()?)?);
        }
        match command {
            "Z" => {
                out.push('z');
                (here, last) = (start, 'z');
                continue;
            }
            "M" if out.is_empty() => {
                out.push('M');
                number(&mut out, coordinates[0].0);
                number(&mut out, coordinates[0].1);
                (here, start, last) = (coordinates[0], coordinates[0], 'M');
                continue;
            }
            _ => {}
        }
        let end = coordinates[points - 1];
        let letter = match command {
            "L" if end.1 == here.1 => 'h',
            "L" if end.0 == here.0 => 'v',
            _ => command.chars().next()?.to_ascii_lowercase(),
        };
        if letter != last || letter == 'm' {
            out.push(letter);
            last = letter;
        }
        match letter {
            'h' => number(&mut out, end.0 - here.0),
            'v' => number(&mut out, end.1 - here.1),
            _ => {
                for &(x, y) in &coordinates[..points] {
                    number(&mut out, x - here.0);
                    number(&mut out, y - here.1);
                }
            }
        }
        here = end;
        if command == "M" {
            start = end;
        }
    }
    Some(out)
}

fn tenths(word: &str) -> Option<i64> {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |digits| (-1, digits));
    let (whole, tenth) = digits.split_once('.').unwrap_or((digits, "0"));
    if tenth.len() != 1 {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
    Some(sign * (10 * whole + tenth.parse::<i64>().ok()?))
}

/// Writes a number of tenths, with the space that divides it from a number before it.
fn number(out: &mut String, tenths: i64) {
    if tenths < 0 {
        out.push('-');
    } else if out.ends_with(|before: char| before.is_ascii_digit()) {
        out.push(' ');
    }
    let (whole, tenth) = (tenths.abs() / 10, tenths.abs() % 10);
    if whole > 0 || tenth == 0 {
        out.push_str(&whole.to_string());
    }
    if tenth > 0 {
        out.push('.');
        out.push_str(&tenth.to_string());
    }
}

#[cfg(test)]
mod tests {
    use resvg::{tiny_skia, usvg};

    use super::*;

    #[test]
    fn paths_become_relative() {
        assert_eq!(relative("M 1 2 L 11 2 L 11 0.5 L 12.5 0 Z").unwrap(), "M1 2h10v-1.5l1.5-.5z");
        assert_eq!(relative("M 1 2 L 2 3 L 3 5 Q 3 6 4 6 Q 5 6 5 5.9").unwrap(), "M1 2l1 1 1 2q0 1 1 1 1 0 1-.1");
        // After a Z the pen is back at the start of its part.
        assert_eq!(relative("M 5 5 L 6 6 L 7 5 Z M 6 5.5 C 1 2 3 4 -5 6.5 Z").unwrap(), "M5 5l1 1 1-1zm1 .5c-5-3.5-3-1.5-11 1z");
        assert_eq!(relative("M 1 1 A 3"), None);
        assert_eq!(relative("M 1"), None);
        assert_eq!(relative("M 1 1.25"), None);
    }

    #[test]
    fn dashes_become_one_path_and_fills_stay_apart() {
        let dash = |x: u32| format!("<path fill=\"none\" stroke=\"#000\" d=\"M {x} 0 L {} 0\"/>", x + 2);
        let fill = "<path fill=\"#fff\" d=\"M 0 0 L 1 0 L 1 1 Z\"/>";
        let text = format!("<svg>{}{}{fill}{fill}{}<g>{}</g></svg>", dash(0), dash(4), dash(8), dash(12));
        let joined = "<path fill=\"none\" stroke=\"#000\" d=\"";
        let short = "<path fill=\"#fff\" d=\"M0 0h1v1z\"/>";
        let expected = format!("<svg>{joined}M0 0h2M4 0h2\"/>{short}{short}{joined}M8 0h2\"/><g>{joined}M12 0h2\"/></g></svg>");
        assert_eq!(svg(&text).unwrap(), expected);
    }

    #[test]
    fn the_picture_stays_the_same() {
        let mut drawing = String::new();
        crate::canvas::Canvas::draw(&mut drawing, (200.0, 100.0), |canvas| {
            use crate::canvas::{Anchor, Fill, Type};
            use crate::style::{INK, Mark, rule};
            canvas.dashed(&[(5.0, 5.0), (100.0, 40.0), (190.0, 8.0)], INK, 1.2)?;
            canvas.polygon(&[(5.0, 5.0), (90.0, 40.0), (50.0, 90.0)], rule("muon").colour, 0.2)?;
            for (x, mark) in [(20.0, Mark::Circle), (40.0, Mark::Wedge), (60.0, Mark::Cross)] {
                canvas.mark(mark, (x, 70.0), 3.0, Fill::Full, INK)?;
                canvas.mark(mark, (x, 80.0), 3.0, Fill::Outline, INK)?;
            }
            canvas.text("Σ_{yx} = 8.13 % of gap", (60.0, 60.0), Anchor::Start, Type { size: 11.0, bold: true, colour: INK })
        })
        .unwrap();
        let mut options = usvg::Options::default();
        options.fontdb_mut().load_font_data(crate::canvas::BOLD.to_vec());
        let write = usvg::WriteOptions { coordinates_precision: 1, indent: usvg::Indent::None, ..usvg::WriteOptions::default() };
        let long = usvg::Tree::from_str(&drawing, &options).unwrap().to_string(&write);
        let short = svg(&long).unwrap();
        assert!(3 * short.len() < 2 * long.len(), "{} of {}", short.len(), long.len());
        let pixels = |text: &str| {
            let tree = usvg::Tree::from_str(text, &options).unwrap();
            let mut pixels = tiny_skia::Pixmap::new(800, 400).unwrap();
            resvg::render(&tree, tiny_skia::Transform::from_scale(0.4, 0.4), &mut pixels.as_mut());
            pixels
        };
        let (long, short) = (pixels(&long), pixels(&short));
        let largest = long.data().iter().zip(short.data()).map(|(a, b)| a.abs_diff(*b)).max();
        // Where joined strokes touch, their edges are painted once and not twice: 2 of 255 here.
        assert!(largest <= Some(4), "{largest:?}");
    }
}
