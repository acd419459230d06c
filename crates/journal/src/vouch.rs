//! A marker vouches for itself: its field `checksum` is that of its own text, with zeros in place of the digits.

use serde_json::Value;

use crate::checksum::Sum;

const FIELD: &str = "checksum";
/// Before the digits. A damaged field and a damaged prefix are both seen, for one of the two is still there.
const PREFIX: &str = "xxh3-128:";
const DIGITS: usize = 32;

/// The text of a marker, pretty JSON with the checksum in it; of what is no object, the JSON alone.
pub(crate) fn vouched(content: &Value) -> String {
    let mut content = content.clone();
    let zeros = format!("{PREFIX}{}", "0".repeat(DIGITS));
    if let Some(fields) = content.as_object_mut() {
        fields.insert(FIELD.to_owned(), Value::from(zeros.clone()));
    }
    let text = format!("{content:#}\n");
    let sum = Sum::of(text.as_bytes()).checksum;
    text.replacen(&format!("\"{FIELD}\": \"{zeros}\""), &format!("\"{FIELD}\": \"{PREFIX}{sum}\""), 1)
}

/// Whether the text of a marker is as it was written. One of an older rescan does not say, and passes.
///
/// # Errors
/// What is wrong with it.
pub fn vouches(text: &[u8]) -> Result<(), String> {
    let ends = text.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX.as_bytes());
    let claims: Vec<usize> = ends.map(|(at, _)| at + PREFIX.len()).collect();
    let holds = |at: &usize| {
        let Some(said) = text.get(*at..at + DIGITS) else { return false };
        let mut zeroed = text.to_vec();
        zeroed[*at..at + DIGITS].fill(b'0');
        Sum::of(&zeroed).checksum.as_bytes() == said
    };
    if claims.iter().any(holds) {
        return Ok(());
    }
    let names = serde_json::from_slice::<Value>(text).is_ok_and(|content| content.get(FIELD).is_some());
    if claims.is_empty() && !names { Ok(()) } else { Err("is not as it was written: its checksum differs".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_flipped_bit_and_every_cut_after_the_checksum_is_seen() {
        let text = vouched(&json!({"rows": 7, "files": [], "inputs": {"text": "xxh3-128:00"}})).into_bytes();
        assert_eq!(vouches(&text), Ok(()));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone();
                flipped[at] ^= 1 << bit;
                assert!(vouches(&flipped).is_err(), "{at} {bit}: {}", String::from_utf8_lossy(&flipped));
            }
        }
        let field = text.windows(PREFIX.len()).position(|window| window == PREFIX.as_bytes()).unwrap();
        (field + PREFIX.len()..text.len()).for_each(|end| assert!(vouches(&text[..end]).is_err(), "{end}"));
        assert!(vouches(&[&text[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn one_that_says_nothing_of_itself_passes() {
        for text in ["", "{}", "{\"format\": 1, \"rows\": 7}\n", "text"] {
            assert_eq!(vouches(text.as_bytes()), Ok(()), "{text}");
        }
        assert_eq!(vouched(&json!(7)), "7\n");
        let twice = vouched(&serde_json::from_str(&vouched(&json!({"rows": 7}))).unwrap());
        assert_eq!(twice, vouched(&json!({"rows": 7})), "what it said before is no content");
    }
}
