//! The OpenAPI description and the page made from it.
//!
//! Owns no words of its own: both are made from the handlers' and the types' comments, so they cannot drift.

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;
use utoipa::OpenApi;

use super::answer::{respond, tagged};

/// What a page of documentation may do: nothing but show text.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "moji",
        description = "What a moji hub knows of its farm, read-only. Times are ISO 8601 in UTC, durations seconds (`_s`), \
            what is not known is null. Every answer has an ETag; whoever sends it back in If-None-Match is told 304 while \
            nothing changed. Fields are added, never changed: readers leave alone what they do not know.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        super::overview, super::builders, super::builder, super::packages, super::package, super::log::log,
        super::blocked, super::events, super::history, super::repository,
    ),
    tags(
        (name = "farm", description = "The farm and its builders"),
        (name = "packages", description = "Packages and their logs"),
        (name = "history", description = "What happened"),
        (name = "repository", description = "What was built"),
    ),
)]
struct Description;

/// The description as text.
fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| Description::openapi().to_pretty_json().expect("a description is JSON"))
}

pub(super) async fn openapi(headers: HeaderMap) -> Response {
    tagged(&headers, "application/json", text().as_bytes().to_vec())
}

/// A list of all paths, for people.
pub(super) async fn page() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let description: Value = serde_json::from_str(text()).expect("it was written as JSON");
        html(&description)
    });
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", page.clone().into_bytes());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn html(description: &Value) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>moji API</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body>\n<h1>moji API</h1>\n",
    );
    let word = |value: &Value| escape(value.as_str().unwrap_or_default());
    let _ = writeln!(page, "<p>{}</p>", word(&description["info"]["description"]));
    page.push_str(
        "<p>For programs: <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a> (OpenAPI 3.1). ",
    );
    page.push_str(
        "For Prometheus: <a href=\"/metrics\">/metrics</a>. Health: <a href=\"/healthz\">/healthz</a>.</p>\n",
    );
    let nothing = serde_json::Map::new();
    for (path, item) in description["paths"].as_object().unwrap_or(&nothing) {
        let get = &item["get"];
        let _ = write!(page, "<h2><code>GET {}</code></h2>\n<p>{}", escape(path), word(&get["summary"]));
        if get["description"].is_string() {
            let _ = write!(page, " {}", word(&get["description"]));
        }
        page.push_str("</p>\n<ul>\n");
        for parameter in get["parameters"].as_array().into_iter().flatten() {
            let (name, text) = (word(&parameter["name"]), word(&parameter["description"]));
            let _ = writeln!(page, "<li><code>{name}</code>: {text}</li>");
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field of every type, sorted.
    fn fields() -> String {
        let description: Value = serde_json::from_str(text()).unwrap();
        let mut lines = String::new();
        for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
            let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for word in words {
                let _ = writeln!(lines, "{name} = {word}");
            }
            for (field, kind) in schema["properties"].as_object().into_iter().flatten() {
                let _ = writeln!(lines, "{name}.{field}: {}", kind_of(kind));
            }
        }
        lines
    }

    fn kind_of(schema: &Value) -> String {
        let last = |reference: &Value| reference.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        match (&schema["$ref"], &schema["type"], &schema["oneOf"]) {
            (reference @ Value::String(_), ..) => last(reference),
            (_, Value::String(kind), _) if kind == "array" => format!("[{}]", kind_of(&schema["items"])),
            (_, Value::String(kind), _) => kind.clone(),
            (_, Value::Array(kinds), _) => {
                kinds.iter().map(|kind| kind.as_str().unwrap()).collect::<Vec<_>>().join("|")
            }
            (.., Value::Array(options)) => options.iter().map(kind_of).collect::<Vec<_>>().join("|"),
            _ => schema.to_string(),
        }
    }

    #[test]
    fn fields_of_the_api_are_added_and_never_changed() {
        let known = include_str!("fields.txt");
        let now = fields();
        if std::env::var_os("MOJI_WRITE_FIELDS").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/api/fields.txt"), &now).unwrap();
            return;
        }
        assert_eq!(now, known, "new fields are written with MOJI_WRITE_FIELDS=1; what was there must stay");
    }

    #[test]
    fn every_path_and_parameter_is_documented_for_people() {
        let description: Value = serde_json::from_str(text()).unwrap();
        let page = html(&description);
        for (path, item) in description["paths"].as_object().unwrap() {
            assert!(page.contains(&format!("GET {path}</code>")), "{path}");
            assert!(item["get"]["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        }
        assert!(page.contains("<code>offset</code>: "), "{page}");
    }
}
