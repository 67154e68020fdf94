//! Nested values as JSON.

use scylla::value::CqlValue;

use super::text::text;

/// Numbers keep all their digits; a map is an object whose keys are texts, as with `SELECT JSON`.
pub fn json(value: &CqlValue) -> String {
    let mut json = String::new();
    write(value, &mut json);
    json
}

fn write(value: &CqlValue, json: &mut String) {
    match value {
        CqlValue::List(items) | CqlValue::Set(items) | CqlValue::Vector(items) => {
            write_all('[', ']', items, json, write);
        }
        CqlValue::Tuple(items) => write_all('[', ']', items, json, write_option),
        CqlValue::Map(entries) => write_all('{', '}', entries, json, |(key, value), json| {
            write_text(&text(key).unwrap_or_default(), json);
            json.push(':');
            write(value, json);
        }),
        CqlValue::UserDefinedType { fields, .. } => write_all('{', '}', fields, json, |(name, value), json| {
            write_text(name, json);
            json.push(':');
            write_option(value, json);
        }),
        scalar => write_scalar(scalar, json),
    }
}

fn write_scalar(value: &CqlValue, json: &mut String) {
    let Some(text) = text(value) else { return json.push_str("null") };
    let is_bare = match value {
        CqlValue::Boolean(_)
        | CqlValue::TinyInt(_)
        | CqlValue::SmallInt(_)
        | CqlValue::Int(_)
        | CqlValue::BigInt(_)
        | CqlValue::Counter(_)
        | CqlValue::Decimal(_)
        | CqlValue::Varint(_) => true,
        CqlValue::Float(value) => value.is_finite(),
        CqlValue::Double(value) => value.is_finite(),
        _ => false,
    };
    if is_bare { json.push_str(&text) } else { write_text(&text, json) }
}

fn write_option(value: &Option<CqlValue>, json: &mut String) {
    match value {
        Some(value) => write(value, json),
        None => json.push_str("null"),
    }
}

fn write_all<T>(open: char, close: char, items: &[T], json: &mut String, write: impl Fn(&T, &mut String)) {
    json.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write(item, json);
    }
    json.push(close);
}

fn write_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_keep_their_shape() {
        let text = |text: &str| CqlValue::Text(text.to_owned());
        let map = CqlValue::Map(vec![(CqlValue::Int(1), text("a\"b")), (CqlValue::Int(2), CqlValue::Double(f64::NAN))]);
        assert_eq!(json(&map), r#"{"1":"a\"b","2":"NaN"}"#);
        let tuple = CqlValue::Tuple(vec![None, Some(CqlValue::Float(0.1)), Some(CqlValue::List(vec![]))]);
        assert_eq!(json(&tuple), "[null,0.1,[]]");
    }
}
