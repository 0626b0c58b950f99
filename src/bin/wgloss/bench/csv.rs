//! Rows of a table in a file, which others may append to as well.

use crate::report::Field;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use wgloss::{Error, ErrorKind};

fn line(cells: impl Iterator<Item = String>) -> String {
    let cell = |text: String| match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    };
    cells.map(cell).collect::<Vec<_>>().join(",")
}

/// The header that the file needs: none where it has one already. A file with another is refused.
pub fn header(path: &Path, fields: &[Field]) -> Result<Option<String>, Error> {
    let name = path.display().to_string();
    let header = line(fields.iter().map(|(name, _)| (*name).to_owned()));
    let refused =
        |found: String| Error::value(&name, "a table of wgloss bench to append to", found);
    let mut start = Vec::new();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
            {
                Some(folder) if !folder.is_dir() => Err(refused("no such folder".into())),
                _ => Ok(Some(header)),
            };
        }
        Err(error) => return Err(refused(error.to_string())),
        // Reading a pipe or a terminal would wait.
        Ok(meta) if !meta.is_file() => return Err(refused("something that is not a file".into())),
        Ok(_) => {
            let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
            file.take(header.len() as u64 + 1)
                .read_to_end(&mut start)
                .map_err(|error| refused(error.to_string()))?;
        }
    }
    if start.is_empty() {
        return Ok(Some(header));
    }
    match start.strip_prefix(header.as_bytes()) {
        Some(b"\n") => Ok(None),
        _ => Err(refused("another header".into())),
    }
}

/// Appends a row, below a header where the file has none yet.
pub fn append(path: &Path, fields: &[Field]) -> Result<(), Error> {
    let header = header(path, fields)?;
    let row = line(fields.iter().map(|(_, value)| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }));
    let text = match header {
        Some(header) => format!("{header}\n{row}\n"),
        None => format!("{row}\n"),
    };
    let mut options = OpenOptions::new();
    // All in one write, so that two appending at a time do not mix their rows.
    options
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            let reason = format!("could not append the row: {error}");
            Error::because(ErrorKind::Device, path.display(), reason)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::PathBuf;

    fn file(name: &str) -> PathBuf {
        let name = format!("wgloss-bench-{}-{name}.csv", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn a_row_is_appended_under_its_own_header_alone() {
        let path = file("rows");
        let _ = std::fs::remove_file(&path);
        let fields = [
            ("a", json!("x, \"y\"")),
            ("b", json!(1.5)),
            ("c", Value::Null),
        ];
        append(&path, &fields).unwrap();
        append(&path, &fields).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let row = "\"x, \"\"y\"\"\",1.5,\n";
        assert_eq!(text, format!("a,b,c\n{row}{row}"));
        let error = append(&path, &fields[..2]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::write(&path, "").unwrap();
        append(&path, &fields[1..2]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\n1.5\n");
        std::fs::remove_file(&path).unwrap();
        assert!(header(&path.join("below"), &fields).is_err());
        assert!(header(&std::env::temp_dir(), &fields).is_err());
    }
}
