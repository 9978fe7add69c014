//! A canonical form of PDF files.
//!
//! svg2pdf keeps fonts and resources in hash maps, so that it numbers, orders and lists them differently in each run. Here the
//! objects are numbered in the order in which they are reached from the root, written in that order, and the lists are sorted:
//! equal pictures give equal bytes.

use std::collections::BTreeMap;

/// The canonical form, or `None` if the file is not built as pdf-writer builds files: one table of cross references, whole numbers
/// for lengths, no object streams.
pub(crate) fn canonical(file: &[u8]) -> Option<Vec<u8>> {
    let start = rfind(file, b"startxref\n")?;
    let table: usize = text(&file[start + 10..])?.lines().next()?.parse().ok()?;
    let trailer = start.checked_sub(table).and_then(|_| text(&file[table..start]))?;
    let objects = objects(file, table, trailer)?;
    let root = number_after(trailer, "/Root ")?;
    let info = number_after(trailer, "/Info ")?;

    // Breadth first from the root; the document information comes last.
    let mut order = vec![root, info];
    let mut next = 0;
    while next < order.len() {
        for target in references(&objects.get(&order[next])?.0) {
            if !order.contains(&target) {
                order.push(target);
            }
        }
        next += 1;
    }
    let renamed: BTreeMap<usize, usize> = order.iter().enumerate().map(|(index, &old)| (old, index + 1)).collect();

    let mut out = b"%PDF-1.7\n%\x80\x80\x80\x80\n\n".to_vec();
    let mut offsets = Vec::new();
    for old in &order {
        let (head, stream) = objects.get(old)?;
        offsets.push(out.len());
        out.extend(format!("{} 0 obj\n{}", renamed[old], rename(head, &renamed)?).bytes());
        out.extend(*stream);
    }
    let table = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f\r\n", order.len() + 1).bytes());
    for offset in offsets {
        out.extend(format!("{offset:010} 00000 n\r\n").bytes());
    }
    let (size, root, info) = (order.len() + 1, renamed[&root], renamed[&info]);
    out.extend(
        format!("trailer\n<<\n  /Size {size}\n  /Root {root} 0 R\n  /Info {info} 0 R\n>>\nstartxref\n{table}\n%%EOF").bytes(),
    );
    Some(out)
}

/// Head (without its first line) and stream of every object, by number.
type Objects<'a> = BTreeMap<usize, (String, &'a [u8])>;

fn objects<'a>(file: &'a [u8], table: usize, trailer: &str) -> Option<Objects<'a>> {
    let entries = trailer.lines().skip(2).take_while(|line| !line.starts_with("trailer"));
    let mut starts: Vec<usize> = entries
        .filter_map(|line| line.trim_end().strip_suffix(" 00000 n"))
        .map(|offset| offset.parse().ok())
        .collect::<Option<_>>()?;
    starts.push(table);
    starts.sort_unstable();
    let mut objects = Objects::new();
    for pair in starts.windows(2) {
        let object = file.get(pair[0]..pair[1])?;
        let begin = find(object, b" 0 obj\n")?;
        let number = text(&object[..begin])?.parse().ok()?;
        let body = &object[begin + 7..];
        let (head, stream) = body.split_at(find(body, b"\nstream\n").unwrap_or(body.len()));
        objects.insert(number, (sort_lists(text(head)?), stream));
    }
    Some(objects)
}

/// Sorts lines that follow each other and name resources of one kind: `/F0 7 0 R`, `/F1 12 0 R`.
fn sort_lists(head: &str) -> String {
    let is_resource = |line: &&str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|name| name.starts_with('/') && name.ends_with(|last: char| last.is_ascii_digit()));
        name.is_some() && words.next_back() == Some("R")
    };
    let mut lines: Vec<&str> = head.split('\n').collect();
    for list in lines.chunk_by_mut(|a, b| is_resource(a) && is_resource(b)) {
        list.sort_by_key(|line| (line.split_whitespace().next().map_or(0, str::len), *line));
    }
    lines.join("\n")
}

/// The pieces of a head between references, and the numbers that are referred to.
fn pieces(head: &str) -> Vec<(&str, Option<usize>)> {
    let mut found = Vec::new();
    let mut rest = head;
    while let Some(mark) = rest.find(" 0 R") {
        let digits = rest[..mark].bytes().rev().take_while(u8::is_ascii_digit).count();
        let end = mark + 4;
        match rest[mark - digits..mark].parse() {
            Ok(number) => found.push((&rest[..mark - digits], Some(number))),
            Err(_) => found.push((&rest[..end], None)),
        }
        rest = &rest[end..];
    }
    found.push((rest, None));
    found
}

fn references(head: &str) -> Vec<usize> {
    pieces(head).into_iter().filter_map(|(_, number)| number).collect()
}

fn rename(head: &str, renamed: &BTreeMap<usize, usize>) -> Option<String> {
    let mut out = String::with_capacity(head.len());
    for (before, number) in pieces(head) {
        out.push_str(before);
        if let Some(number) = number {
            out.push_str(&format!("{} 0 R", renamed.get(&number)?));
        }
    }
    Some(out)
}

fn number_after(trailer: &str, key: &str) -> Option<usize> {
    trailer.split_once(key)?.1.split(' ').next()?.parse().ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn rfind(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two numberings and orders of one document.
    fn document(font_a: usize, font_b: usize, swapped: bool) -> Vec<u8> {
        let mut file = b"%PDF-1.7\n%\x80\x80\x80\x80\n\n".to_vec();
        let mut fonts = [format!("/F0 {font_a} 0 R"), format!("/F1 {font_b} 0 R")];
        let mut bodies = vec![
            (1, "<<\n/Type /Catalog\n/Pages 2 0 R\n>>".to_owned()),
            (2, "<<\n/Kids [6 0 R]\n>>".to_owned()),
            (6, String::new()),
            (font_a, "<<\n/Length 9\n>>\nstream\n1 0 R \x01 9\nendstream".to_owned()),
            (font_b, "<<\n/B 1\n>>".to_owned()),
            (7, "<<\n/Producer (x)\n>>".to_owned()),
        ];
        if swapped {
            fonts.swap(0, 1);
            bodies.swap(3, 4);
        }
        bodies[2].1 = format!("<<\n/Font <<\n{}\n>>\n>>", fonts.join("\n"));
        let mut offsets = BTreeMap::new();
        for (number, body) in bodies {
            offsets.insert(number, file.len());
            file.extend(format!("{number} 0 obj\n{body}\nendobj\n\n").bytes());
        }
        let table = file.len();
        file.extend(b"xref\n0 8\n0000000003 65535 f\r\n");
        for number in 1..8 {
            match offsets.get(&number) {
                Some(offset) => file.extend(format!("{offset:010} 00000 n\r\n").bytes()),
                None => file.extend(b"0000000000 00000 f\r\n"),
            }
        }
        file.extend(format!("trailer\n<<\n/Size 8\n/Root 1 0 R\n/Info 7 0 R\n>>\nstartxref\n{table}\n%%EOF").bytes());
        file
    }

    #[test]
    fn numbers_and_orders_do_not_matter() {
        let form = canonical(&document(3, 5, false)).unwrap();
        assert_eq!(form, canonical(&document(3, 5, true)).unwrap());
        assert_eq!(form, canonical(&document(5, 4, false)).unwrap());
        // What is canonical stays, and streams are not touched.
        assert_eq!(form, canonical(&form).unwrap());
        assert!(find(&form, b"1 0 R \x01 9").is_some());
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        assert!(canonical(b"").is_none());
        assert!(canonical(b"startxref\n12\n%%EOF").is_none());
        let whole = document(3, 5, false);
        for length in 0..whole.len() - 8 {
            assert!(canonical(&whole[..length]).is_none(), "{length}");
        }
    }
}
