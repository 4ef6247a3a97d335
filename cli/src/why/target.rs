//! What is to be explained: a router, or a virtual server of a namespace.

/// Words that kubectl takes for a VirtualRouter, and for a VirtualServer.
const ROUTERS: [&str; 3] = ["vkr", "virtualrouter", "virtualrouters"];
const SERVERS: [&str; 3] = ["vks", "virtualserver", "virtualservers"];

/// What is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The router of this name.
    Router(String),
    /// A virtual server.
    Server {
        /// Its namespace; `None` for that of the context.
        namespace: Option<String>,
        name: String,
    },
}

impl Target {
    /// Reads `NAME`, `KIND/NAME` or `NAMESPACE/NAME`. Routers have no namespace: with one, a name alone is a virtual
    /// server's.
    pub(super) fn of(text: &str, namespace: Option<&str>) -> Result<Self, String> {
        let of_namespace = namespace.map(str::to_owned);
        let (before, name) = match text.split_once('/') {
            None => (None, text),
            Some((before, name)) => (Some(before), name),
        };
        if name.is_empty() || name.contains('/') || before == Some("") {
            return Err(format!(
                "`{text}` is none of ROUTER, virtualserver/NAME and NAMESPACE/NAME"
            ));
        }
        let name = name.to_owned();
        let kind = before.map(|word| word.split('.').next().unwrap_or_default());
        match (before, kind) {
            (None, _) if namespace.is_none() => Ok(Self::Router(name)),
            (Some(_), Some(kind)) if ROUTERS.contains(&kind) => Ok(Self::Router(name)),
            (Some(_), Some(kind)) if SERVERS.contains(&kind) => Ok(Self::Server {
                namespace: of_namespace,
                name,
            }),
            (Some(before), _) if namespace.is_some_and(|n| n != before) => Err(format!(
                "`{text}` is in the namespace {before}, and --namespace names another"
            )),
            (before, _) => Ok(Self::Server {
                namespace: before.map(str::to_owned).or(of_namespace),
                name,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(namespace: Option<&str>, name: &str) -> Result<Target, String> {
        Ok(Target::Server {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    #[test]
    fn a_name_alone_is_a_routers_and_with_a_namespace_a_virtual_servers() {
        let router = Ok(Target::Router("web".to_owned()));
        for text in [
            "web",
            "vkr/web",
            "virtualrouter/web",
            "virtualrouters.vipkeeper.io/web",
        ] {
            assert_eq!(Target::of(text, None), router, "{text}");
        }
        assert_eq!(Target::of("vkr/web", Some("shop")), router);
        assert_eq!(Target::of("one", Some("shop")), server(Some("shop"), "one"));
        assert_eq!(Target::of("shop/one", None), server(Some("shop"), "one"));
        assert_eq!(
            Target::of("shop/one", Some("shop")),
            server(Some("shop"), "one")
        );
        assert_eq!(Target::of("vks/one", None), server(None, "one"));
        assert_eq!(
            Target::of("virtualserver/one", Some("shop")),
            server(Some("shop"), "one")
        );
        assert_eq!(
            Target::of("virtualservers.vipkeeper.io/one", Some("shop")),
            server(Some("shop"), "one")
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "/", "shop/", "/one", "a/b/c"] {
            assert!(Target::of(text, None).is_err(), "{text:?}");
        }
        let error = Target::of("shop/one", Some("other")).unwrap_err();
        assert!(error.contains("namespace shop"), "{error}");
    }
}
