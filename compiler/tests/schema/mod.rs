//! What the API server does with an object: defaults, structural schema, CEL. Only what our CRDs use; anything else
//! in a schema fails the test.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, ExecutionError, Program};
use regex::Regex;
use serde_json::Value;

/// A CRD's schema, as the API server asks it of objects. What it compiles it keeps.
pub(crate) struct Validator<'a> {
    root: &'a Value,
    library: Context<'static, 'static>,
    programs: HashMap<&'a str, Program>,
    patterns: HashMap<&'a str, Regex>,
}

impl<'a> Validator<'a> {
    /// Of the schema `root`.
    pub(crate) fn of(root: &'a Value) -> Self {
        Self {
            root,
            library: kubernetes(),
            programs: HashMap::new(),
            patterns: HashMap::new(),
        }
    }

    /// Why the CRD refuses `object`; nothing if it takes it. CEL is asked of what fits the schema.
    pub(crate) fn refusals(&mut self, object: &Value) -> Vec<String> {
        let mut object = object.clone();
        defaults(self.root, &mut object);
        let mut found = Vec::new();
        self.validate(self.root, &object, "", &mut found);
        if found.is_empty() {
            self.rules(self.root, &object, &mut found);
        }
        found
    }

    fn validate(&mut self, schema: &'a Value, value: &Value, path: &str, found: &mut Vec<String>) {
        let mut refuse = |what: &str| found.push(format!("{path}: {what}"));
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        let within = |size: usize, least: &str, most: &str| {
            let size = i64::try_from(size).unwrap();
            bound(least).is_none_or(|b| size >= b) && bound(most).is_none_or(|b| size <= b)
        };
        if let Some(choices) = schema.get("enum").and_then(Value::as_array)
            && !choices.contains(value)
        {
            refuse("not one of the choices");
        }
        match (schema["type"].as_str(), value) {
            (Some("string"), Value::String(text)) => {
                if !within(text.chars().count(), "minLength", "maxLength") {
                    refuse("length");
                }
                if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
                    && !self.pattern(pattern).is_match(text)
                {
                    refuse("pattern");
                }
            }
            (Some("integer"), Value::Number(number)) if number.is_i64() => {
                let number = number.as_i64();
                if bound("minimum") > number || bound("maximum").is_some_and(|b| number > Some(b)) {
                    refuse("range");
                }
            }
            (Some("boolean"), Value::Bool(_)) => {}
            (Some("array"), Value::Array(items)) => {
                if !within(items.len(), "minItems", "maxItems") {
                    refuse("number of items");
                }
                if schema["x-kubernetes-list-type"] == "map" {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array().unwrap();
                    let key = |item: &Value| {
                        let parts = keys.iter().map(|k| item[k.as_str().unwrap()].to_string());
                        parts.collect::<Vec<_>>()
                    };
                    let distinct: BTreeSet<_> = items.iter().map(key).collect();
                    if distinct.len() < items.len() {
                        refuse("a key twice");
                    }
                }
                if schema["x-kubernetes-list-type"] == "set" {
                    let distinct: BTreeSet<String> = items.iter().map(Value::to_string).collect();
                    if distinct.len() < items.len() {
                        refuse("an item twice");
                    }
                }
                for (i, item) in items.iter().enumerate() {
                    self.validate(&schema["items"], item, &format!("{path}[{i}]"), found);
                }
            }
            (Some("object"), Value::Object(fields)) => {
                if !within(fields.len(), "minProperties", "maxProperties") {
                    refuse("number of entries");
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    if !fields.contains_key(name.as_str().unwrap()) {
                        refuse(&format!("{name} is required"));
                    }
                }
                for (name, field) in fields {
                    let schema = schema["properties"]
                        .get(name)
                        .or_else(|| schema.get("additionalProperties"));
                    // Fields that no schema has are pruned; metadata and the like are checked elsewhere.
                    if let Some(schema) = schema {
                        self.validate(schema, field, &format!("{path}.{name}"), found);
                    }
                }
            }
            _ => refuse("type"),
        }
    }

    fn rules(&mut self, schema: &'a Value, value: &Value, found: &mut Vec<String>) {
        let own = schema.get("x-kubernetes-validations");
        let own = own.and_then(Value::as_array).filter(|own| !own.is_empty());
        if let Some(own) = own {
            let mut context = self.library.new_inner_scope();
            context.add_variable("self", value).unwrap();
            for rule in own {
                let text = rule["rule"].as_str().unwrap();
                let compile = || Program::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
                let program = self.programs.entry(text).or_insert_with(compile);
                match program.execute(&context) {
                    Ok(cel::Value::Bool(true)) => {}
                    // The API server refuses an object on which a rule ends in an error, too.
                    Ok(cel::Value::Bool(false)) => {
                        found.push(rule["message"].as_str().unwrap().to_owned())
                    }
                    Ok(other) => panic!("{text} is no condition: {other:?}"),
                    Err(error) => panic!("{text} fails on {value}: {error}"),
                }
            }
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if let Some(schema) = schema["properties"].get(name) {
                        self.rules(schema, field, found);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.rules(&schema["items"], item, found);
                }
            }
            _ => {}
        }
    }

    fn pattern(&mut self, text: &'a str) -> &Regex {
        self.patterns
            .entry(text)
            .or_insert_with(|| Regex::new(text).unwrap())
    }
}

/// The messages of all CEL rules of a definition.
pub(crate) fn messages(definition: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut stack = vec![definition];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(fields) => {
                let rules = fields.get("x-kubernetes-validations");
                for rule in rules.and_then(Value::as_array).into_iter().flatten() {
                    all.insert(rule["message"].as_str().unwrap().to_owned());
                }
                stack.extend(fields.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
    all
}

/// Where a schema is not structural, has no bound, or describes nothing.
pub(crate) fn loose(path: &str, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for forbidden in [
        "$ref",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "definitions",
        "nullable",
    ] {
        if schema.get(forbidden).is_some() {
            found.push(format!("{path} has {forbidden}"));
        }
    }
    let has = |name: &str| schema.get(name).is_some();
    match schema["type"].as_str() {
        Some("string") if has("maxLength") || has("enum") || schema["format"] == "date-time" => {}
        Some("array") if has("maxItems") && has("x-kubernetes-list-type") => {
            found.extend(loose(&format!("{path}[]"), &schema["items"]));
        }
        Some("object") if has("properties") => {
            for (name, field) in schema["properties"].as_object().unwrap() {
                let path = format!("{path}.{name}");
                if field["description"].as_str().is_none_or(|d| d.len() < 8) {
                    found.push(format!("{path} is not described"));
                }
                found.extend(loose(&path, field));
            }
        }
        Some("object") if has("additionalProperties") && has("maxProperties") => {
            found.extend(loose(path, &schema["additionalProperties"]));
        }
        Some("integer" | "boolean") => {}
        _ => found.push(format!("{path} has no bound or type: {schema}")),
    }
    found
}

fn defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = field.get("default") {
                    fields.entry(name).or_insert_with(|| default.clone());
                }
                if let Some(value) = fields.get_mut(name) {
                    defaults(field, value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|i| defaults(&schema["items"], i)),
        _ => {}
    }
}

type Text = Arc<String>;

/// CEL with what Kubernetes adds to it. Addresses and subnets are their texts here, and durations milliseconds.
fn kubernetes() -> Context<'static, 'static> {
    let mut context = Context::default();
    let failed = |what: &str, text: &str| ExecutionError::function_error(what, text);
    context
        .add_function("duration", move |text: Text| {
            let parsed = text.parse::<vipkeeper_crds::Duration>();
            let millis = parsed.map_err(|_| failed("duration", &text))?.as_millis();
            Ok::<_, ExecutionError>(i64::try_from(millis).unwrap_or(i64::MAX))
        })
        .unwrap();
    context
        .add_function("isIP", |text: Text| address(&text).is_some())
        .unwrap();
    // Also the address of a subnet.
    context
        .add_function("ip", move |This(text): This<Text>| {
            let address = address(text.split('/').next().unwrap_or_default());
            let address = address.ok_or_else(|| failed("ip", &text))?;
            Ok::<_, ExecutionError>(Arc::new(address.to_string()))
        })
        .unwrap();
    context
        .add_function("isGlobalUnicast", |This(text): This<Text>| {
            address(&text).is_some_and(|a| match a {
                IpAddr::V4(a) => {
                    !(a.is_unspecified()
                        || a.is_loopback()
                        || a.is_multicast()
                        || a.is_broadcast()
                        || a.is_link_local())
                }
                IpAddr::V6(a) => {
                    !(a.is_unspecified()
                        || a.is_loopback()
                        || a.is_multicast()
                        || a.is_unicast_link_local())
                }
            })
        })
        .unwrap();
    context
        .add_function("isLinkLocalUnicast", |This(text): This<Text>| {
            address(&text).is_some_and(|a| match a {
                IpAddr::V4(a) => a.is_link_local(),
                IpAddr::V6(a) => a.is_unicast_link_local(),
            })
        })
        .unwrap();
    context
        .add_function("isLoopback", |This(text): This<Text>| {
            address(&text).is_some_and(|a| a.is_loopback())
        })
        .unwrap();
    context
        .add_function("isCIDR", |text: Text| subnet(&text).is_some())
        .unwrap();
    context
        .add_function("cidr", move |text: Text| {
            subnet(&text).ok_or_else(|| failed("cidr", &text))?;
            Ok::<_, ExecutionError>(text)
        })
        .unwrap();
    context
        .add_function("masked", move |This(text): This<Text>| {
            let (address, length) = subnet(&text).ok_or_else(|| failed("masked", &text))?;
            let network: IpAddr = match address {
                IpAddr::V4(a) => {
                    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                    std::net::Ipv4Addr::from_bits(a.to_bits() & mask).into()
                }
                IpAddr::V6(a) => {
                    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                    std::net::Ipv6Addr::from_bits(a.to_bits() & mask).into()
                }
            };
            Ok::<_, ExecutionError>(Arc::new(format!("{network}/{length}")))
        })
        .unwrap();
    context
}

/// As Kubernetes reads one: without zone, and no IPv4 in IPv6 form.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

fn subnet(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address = self::address(address)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length: u32 = length.parse().ok().filter(|l| *l <= bits)?;
    Some((address, length))
}
