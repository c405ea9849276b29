//! The description of the API against the live hub: every path, with good and bad values of every parameter.
//!
//! Owns which values are tried. Every answer must have a status, a content type and a body that the description has for
//! it; a value that the description forbids must be refused.

use moji_tests::Farm;
use serde_json::{Value, json};

/// Asks everything; says how often.
pub(crate) fn check(farm: &Farm, packages: &[&str]) -> usize {
    let text = farm.http("/api/v1/openapi.json", &[]).body;
    let api: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(api["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
    let paths = api["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, item) in paths {
        assert_eq!(item.as_object().map(|item| item.keys().map(String::as_str).collect()), Some(vec!["get"]));
        let get = &item["get"];
        let parameters: Vec<&Value> = get["parameters"].as_array().into_iter().flatten().collect();
        for parameter in &parameters {
            assert!(parameter["description"].is_string(), "{path}: {parameter}");
        }
        let names: Vec<String> = match path.contains("{name}") {
            false => vec![String::new()],
            true if path.contains("/builders/") => vec![builder(farm), "nobody".to_owned(), "%FF".to_owned()],
            true => packages
                .iter()
                .map(ToString::to_string)
                .chain(["no-such".to_owned(), "a%2Fb".to_owned()])
                .collect(),
        };
        for name in &names {
            let path = path.replace("{name}", name);
            let mut ask = |query: &str, forbidden: bool| {
                asked += 1;
                one(farm, &api, get, &format!("{path}{query}"), forbidden && !name.starts_with('%'));
            };
            ask("", false);
            ask("?no_such_parameter=1", !parameters.iter().all(|one| one["in"] == "path"));
            for parameter in parameters.iter().filter(|one| one["in"] == "query") {
                let key = parameter["name"].as_str().expect("a name");
                for (value, forbidden) in values(&parameter["schema"]) {
                    ask(&format!("?{key}={value}"), forbidden);
                }
            }
        }
    }
    asked
}

fn builder(farm: &Farm) -> String {
    let all: Value = serde_json::from_slice(&farm.http("/api/v1/builders", &[]).body).expect("JSON");
    all[0]["name"].as_str().expect("a builder").to_owned()
}

/// Values to try, and whether each is forbidden.
fn values(schema: &Value) -> Vec<(String, bool)> {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        kinds => kinds.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let options = schema["oneOf"].as_array().into_iter().flatten();
    let mut words: Vec<&str> = options
        .chain([schema])
        .flat_map(|one| one["enum"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    words.dedup();
    if !words.is_empty() {
        let good = words.iter().map(|word| ((*word).to_owned(), false));
        return good.chain([("no-such-word".to_owned(), true), (words[0].to_uppercase(), true)]).collect();
    }
    if kinds.contains(&"integer") {
        let least = schema["minimum"].as_u64().expect("a number has a least value");
        let mut all = vec![
            (least.to_string(), false),
            ("x".to_owned(), true),
            ("1.5".to_owned(), true),
            ("-1".to_owned(), true),
        ];
        if least > 0 {
            all.push(((least - 1).to_string(), true));
        }
        if let Some(most) = schema["maximum"].as_u64() {
            all.extend([(most.to_string(), false), ((most + 1).to_string(), true)]);
        }
        all.push(("99999999999999999999999".to_owned(), true));
        return all;
    }
    assert!(kinds.contains(&"string"), "{schema}");
    let mut all: Vec<(String, bool)> = ["b", "built", "%00", "%3Cscript%3E", "*"]
        .into_iter()
        .map(|value| (value.to_owned(), false))
        .collect();
    if let Some(most) = schema["maxLength"].as_u64() {
        let of = |len: u64| "x".repeat(usize::try_from(len).expect("a length"));
        all.extend([(of(most), false), (of(most + 1), true)]);
    }
    all
}

/// Asks once, and holds the answer against the description.
fn one(farm: &Farm, api: &Value, get: &Value, target: &str, forbidden: bool) {
    let response = farm.http(target, &[]);
    let status = response.status.to_string();
    let described = &get["responses"][&status];
    assert!(described.is_object(), "{target}: no answer {status} is described: {}", response.text());
    let refused = (400..500).contains(&response.status);
    assert!(refused || !forbidden, "{target} is forbidden, and was answered: {}", response.text());
    let kind = response.header("content-type").expect("a content type");
    let content = &described["content"][kind];
    assert!(content.is_object(), "{target}: {kind} is not described");
    if !kind.starts_with("application/json") {
        return;
    }
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{target}");
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    // References begin at the root of what the validator is given.
    let mut schema = content["schema"].clone();
    schema["components"] = api["components"].clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    forbid_more(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap_or_else(|why| panic!("{target}: {why}"));
    let wrong: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{target}: {wrong:?} in {body}");
    if refused {
        assert_eq!(body["status"], response.status, "{target}");
        let text = body["error"].as_str().expect("a text");
        assert!(!text.is_empty() && text.lines().count() == 1, "{target}: {text}");
    }
}

/// In every object only what is described may stand.
fn forbid_more(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && fields.get("type") == Some(&json!("object")) {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(forbid_more);
        }
        Value::Array(values) => values.iter_mut().for_each(forbid_more),
        _ => {}
    }
}
