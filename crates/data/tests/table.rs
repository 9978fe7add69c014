//! Tables from CSV and parquet: what is read, and every refusal.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::fmt::Write as _;

use isorate_data::{
    Images, Split, Table, TableOptions, fashion_mnist, mnist, read_csv, read_table_file, wine_quality, write_parquet,
};
use proptest::prelude::*;

const LABEL: TableOptions<'static> = TableOptions { label: "label", ignore: &[] };

fn csv(text: &str) -> Table {
    read_csv(text.as_bytes(), "t.csv", &LABEL).unwrap()
}

fn refusal(text: &str) -> String {
    read_csv(text.as_bytes(), "t.csv", &LABEL).unwrap_err().to_string()
}

#[test]
fn classes_are_numbers_or_text() {
    let table = csv("a,label,b\n1,10,2\n3,9,4\n5,10,6\n7,9,8\n");
    // As numbers, 9 comes before 10.
    assert_eq!((table.class_names(), table.labels()), (&["9".to_owned(), "10".to_owned()][..], &[1, 0, 1, 0][..]));
    assert_eq!(
        (table.feature_names(), table.features()),
        (&["a".to_owned(), "b".to_owned()][..], &[1., 2., 3., 4., 5., 6., 7., 8.][..])
    );
    let table = csv("a,label\n1,rare\n2,common\n3,rare\n4,common\n");
    assert_eq!(table.class_names(), ["common", "rare"]);
}

#[test]
fn separators_quotes_and_byte_order_marks_are_understood() {
    let comma = csv("a,\"b, c\",label\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n");
    assert_eq!(comma.feature_names(), ["a", "b, c"]);
    for separated in [
        "a;\"b, c\";label\n1;2;x\n3;4;y\n5;6;x\n7;8;y",
        "\u{feff}a\tb, c\tlabel\r\n1\t 2\tx\r\n3\t4\ty\r\n5\t6\tx\r\n7\t8\ty\r\n",
    ] {
        assert_eq!(csv(separated), comma);
    }
}

#[test]
fn refusals_say_where_what_and_what_to_do() {
    let ignoring = read_csv(b"id,a,label\n1,2,x\n", "t.csv", &TableOptions { label: "label", ignore: &["ids".to_owned()] });
    let mut messages = vec![ignoring.unwrap_err().to_string()];
    for text in [
        "",
        "a,label\n",
        "a,lable\n1,x\n",
        "a,b\n1,2\n",
        "1,2\n3,4\n",
        "a,a,label\n1,2,x\n",
        "label\nx\ny\n",
        "a,label\n1,x\nhigh,y\n",
        "a,label\n1,x\n,y\n",
        "a,b,label\n,1,x\n,2,y\n",
        "a,label\n1,x\nNaN,y\n",
        "a,label\n1,x\ninf,y\n",
        "a,label\n1,x\n-1e300,y\n",
        "a,label\n1,x\n2,\n",
        "a,label\n1,0.5\n2,1\n",
        "a,label\n1,1\n2,1.0\n3,2\n",
        "a,label\n1,x\n2,x\n",
        "a,label\n1,x\n2,x\n3,y\n",
        "a,label\n1,x\n2,x,3\n",
        "PAR1",
    ] {
        messages.push(format!("{text:?}\n→ {}", refusal(text)));
    }
    let many: Vec<String> = (0..1200).map(|i| format!("1,{}", i / 2)).collect();
    messages.push(refusal(&format!("a,label\n{}\n", many.join("\n"))));
    let wide: Vec<String> = (0..2049).map(|i| format!("x{i}")).collect();
    messages.push(refusal(&format!("{},label\n", wide.join(","))));
    messages.push(read_csv(b"a\xff,label\n1,x\n", "t.csv", &LABEL).unwrap_err().to_string());
    messages.push(read_csv(b"a,label\n1,x\xff\n", "t.csv", &LABEL).unwrap_err().to_string());
    messages.push(read_csv(b"\x1f\x8b\x08", "t.csv", &LABEL).unwrap_err().to_string());
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn files_are_told_by_their_extension() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = "a,label\n1,x\n2,y\n3,x\n4,y\n";
    fs_err::write(path("t.csv"), text).unwrap();
    fs_err::write(path("t.xlsx"), text).unwrap();
    fs_err::write(path("t.parquet"), text).unwrap();
    assert_eq!(read_table_file(&path("t.csv"), &LABEL).unwrap().0.len(), 4);
    let refusal = |name: &str| read_table_file(&path(name), &LABEL).unwrap_err().to_string();
    assert!(refusal("t.xlsx").contains("\"xlsx\""));
    assert!(refusal("t.parquet").contains("not a parquet file"));
    assert!(refusal("none.csv").contains("none.csv"));
    assert!(read_table_file(folder.path(), &LABEL).unwrap_err().to_string().contains("is not a file"));
}

#[test]
fn images_become_tables_of_pixels() {
    let images = Images::new([1, 1, 2], 4, vec![0, 255, 51, 0, 255, 0, 0, 102], vec![3, 1, 3, 1]).unwrap();
    let names: Vec<String> = (0..4).map(|i| format!("{i}.png")).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.parquet");
    fs_err::write(&path, write_parquet(&images, &names).unwrap()).unwrap();
    let (table, are_images) = read_table_file(&path, &LABEL).unwrap();
    assert!(are_images);
    // Classes without an image are no classes.
    assert_eq!((table.class_names(), table.labels()), (&["1".to_owned(), "3".to_owned()][..], &[1, 0, 1, 0][..]));
    assert_eq!(table.features(), [0.0, 1.0, 0.2, 0.0, 1.0, 0.0, 0.0, 0.4]);
    let whole = Table::from_images(&mnist().load(Split::Test).unwrap(), "mnist", mnist().class_names).unwrap();
    assert_eq!((whole.len(), whole.dim(), whole.class_names().len()), (4_000, 784, 10));
}

#[test]
fn fashion_mnist_is_whole() {
    for (split, count, hash) in [
        (Split::Train, 12_000, "72f94a1ff42889a38e6598353ad4d4ffb933d3e11a639b83b43e68fa81107e67"),
        (Split::Test, 4_000, "f50763713f02e5f66e1371c7b0ec5c32b9cc64eb0ecd36661ff6b1c95aef826c"),
    ] {
        let images = fashion_mnist().load(split).unwrap();
        assert_eq!((images.len(), images.shape()), (count, [1, 28, 28]));
        assert_eq!(images.class_counts(), [count / 10; 10]);
        assert_eq!(fashion_mnist().checksum(split), hash);
    }
}

#[test]
fn parquet_tables() {
    use polars::prelude::{DataFrame, IntoColumn, NamedFrom, ParquetWriter, Series};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let write = |columns: Vec<Series>| {
        let rows = columns[0].len();
        let mut frame = DataFrame::new(rows, columns.into_iter().map(IntoColumn::into_column).collect()).unwrap();
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        fs_err::write(&path, bytes).unwrap();
    };
    let read = |label: &str| {
        read_table_file(&path, &TableOptions { label, ignore: &[] })
            .map(|(table, _)| table)
            .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "[folder]"))
    };
    let size = || Series::new("size".into(), [1.5, 2.5, 3.5, 4.5]);
    let kind = || Series::new("kind".into(), ["b", "a", "b", "a"]);
    let count = || Series::new("count".into(), [3_i64, 4, 3, 4]);
    write(vec![size(), kind(), count()]);
    assert_eq!(
        read("count").unwrap_err().lines().next(),
        Some("[folder]/t.parquet: column \"kind\" of type string: a feature must be a number")
    );
    let table = read("kind").unwrap();
    assert_eq!((table.features(), table.labels()), (&[1.5, 3.0, 2.5, 4.0, 3.5, 3.0, 4.5, 4.0][..], &[1, 0, 1, 0][..]));
    let mut messages = vec![read("kinds").unwrap_err()];
    for odd in [f64::NAN, f64::INFINITY] {
        write(vec![Series::new("size".into(), [1.5, 2.5, odd, 4.5]), kind()]);
        messages.push(read("kind").unwrap_err());
    }
    write(vec![Series::new("size".into(), [None, None, None, None::<f64>]), kind()]);
    messages.push(read("kind").unwrap_err());
    write(vec![size(), Series::new("kind".into(), [Some("a"), None, Some("a"), Some("b")])]);
    messages.push(read("kind").unwrap_err());
    write(vec![size(), Series::new("kind".into(), [0.5, 1.0, 0.5, 1.0])]);
    messages.push(read("kind").unwrap_err());
    write(vec![kind()]);
    messages.push(read("kind").unwrap_err());
    insta::assert_snapshot!(messages.join("\n"));
}

/// A small table with any names, separators and cells.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let valid = "a,b,label\n1,2.5,x\n-3e2,4,y\n5,6,x\n7,\"8\",y\n".as_bytes().to_vec();
    (Just(valid), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 0..6)).prop_map(
        |(mut bytes, edits)| {
            for (place, byte, edit) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = place.index(bytes.len());
                match edit {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => {
                        bytes.remove(at);
                    }
                }
            }
            bytes
        },
    )
}

/// What a table promises, whatever it was read from.
fn sound(bytes: &[u8]) {
    if let Ok(table) = read_csv(bytes, "t.csv", &LABEL) {
        assert_eq!(table.features().len(), table.len() * table.dim());
        assert!(table.features().iter().all(|value| value.abs() <= 1e100));
        assert!(table.class_counts().iter().all(|&count| count >= 2) && table.class_counts().len() >= 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        sound(&bytes);
        sound(&[b"a,label\n", &bytes[..]].concat());
    }

    #[test]
    fn mutated_tables_are_read_or_refused(bytes in mutated()) {
        sound(&bytes);
    }

    #[test]
    fn what_is_written_is_read(rows in prop::collection::vec((-1e50..1e50_f64, any::<f32>().prop_filter("finite", |x| x.is_finite()).prop_map(f64::from), 0u8..3), 6..40)) {
        let mut text = String::from("a,b,label\n");
        for (a, b, class) in &rows {
            writeln!(text, "{a:e},{b:e},{class}").unwrap();
        }
        let counts = [0, 1, 2].map(|class| rows.iter().filter(|row| row.2 == class).count());
        prop_assume!(counts.iter().all(|&count| count >= 2));
        let table = csv(&text);
        for (index, (a, b, class)) in rows.iter().enumerate() {
            prop_assert_eq!(table.features()[2 * index].to_bits(), a.to_bits());
            prop_assert_eq!(table.features()[2 * index + 1].to_bits(), b.to_bits());
            prop_assert_eq!(table.labels()[index], u32::from(*class));
        }
    }
}

#[test]
fn the_wines_are_read() {
    let wines = wine_quality().unwrap();
    assert_eq!(wines.class_names(), ["3", "4", "5", "6", "7", "8"]);
    assert_eq!(wines.features()[..11], [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]);
}
