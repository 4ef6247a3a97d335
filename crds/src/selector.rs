//! Which nodes are meant: by their labels, with the words of Kubernetes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Nodes by their labels. Every requirement must hold; without one, every node is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that the node has with exactly these values, at most 32. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63})
    )]
    pub match_labels: BTreeMap<String, String>,
    /// More requirements on labels, at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::requirement()))]
pub struct LabelRequirement {
    /// The label's key, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// `In`: the label has one of `values`. `NotIn`: it has none of them, or does not exist. `Exists` and
    /// `DoesNotExist`: whatever its value.
    pub operator: LabelOperator,
    /// With `In` and `NotIn`: 1 to 64 values. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 63)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Vec<String>,
}

/// What a [`LabelRequirement`] demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
    /// Any value.
    Exists,
    /// No such label.
    DoesNotExist,
}

/// Nodes that shall come first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNodes {
    /// 1 to 100; the weights of all entries that match a node are added up, and a higher sum comes first.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i64,
    /// Which nodes get the weight.
    pub preference: LabelSelector,
}
