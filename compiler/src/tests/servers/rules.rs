//! Each rule of one VirtualServer, broken alone.

use serde_json::{Value, json};

use super::alone;
use crate::Severity;

#[test]
fn each_broken_rule_of_a_server_names_its_field_and_the_way_out() {
    let real = |list: Value| json!({"realServers": list});
    let at = |address: &str| json!({"realServers": [{"address": address}]});
    let tunnel = |tunnel: Value| json!({"forwarding": {"method": "Tunnel", "tunnel": tunnel}});
    let mark = |more: Value| {
        let mut all = json!({"fwmark": {"value": 7, "family": "IPv4"}, "ports": null});
        super::merge(&mut all, more);
        all
    };
    let all = |more: Value| {
        let mut all = json!({"all": true, "ports": null, "persistence": {}});
        super::merge(&mut all, more);
        all
    };
    check(&[
        (
            json!({"routerRef": {"name": "R"}}),
            "spec.routerRef.name",
            "lower case",
        ),
        (json!({"ports": null}), "spec.ports", "list 1 to 64"),
        (
            json!({"ports": [{"port": 0}]}),
            "spec.ports[0].port",
            "1 to 65535",
        ),
        (
            json!({"ports": [{"port": 80}, {"port": 80}]}),
            "spec.ports[1].port",
            "listed twice",
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": 70000}]}),
            "spec.ports[0].targetPort",
            "1 to 65535",
        ),
        (
            json!({"ports": [{"port": 80, "name": ""}]}),
            "spec.ports[0].name",
            "1 to 63",
        ),
        (
            json!({"addresses": ["192.0.2.300"]}),
            "spec.addresses[0]",
            "is not an IP address",
        ),
        (
            json!({"addresses": ["192.0.2.100", "192.0.2.100"]}),
            "spec.addresses[1]",
            "listed twice",
        ),
        (
            json!({"addresses": ["192.0.2.101"]}),
            "spec.addresses[0]",
            "it has 192.0.2.100",
        ),
        (
            mark(json!({"fwmark": {"value": 0}})),
            "spec.fwmark.value",
            "1 to 4294967295",
        ),
        (
            mark(json!({"addresses": ["192.0.2.100"]})),
            "spec.addresses",
            "remove one of the two",
        ),
        (
            mark(json!({"ports": [{"port": 80}]})),
            "spec.ports",
            "remove one of the two",
        ),
        (
            mark(json!({"forwarding": {"method": "FullNAT"}})),
            "spec.forwarding.method",
            "a firewall mark has none",
        ),
        (
            all(json!({"ports": [{"port": 80}]})),
            "spec.ports",
            "serves every port",
        ),
        (
            all(json!({"persistence": null})),
            "spec.all",
            "needs `persistence`",
        ),
        (
            all(json!({"realServers": [{"address": "10.0.0.1", "port": 8080}]})),
            "spec.realServers[0].port",
            "keeps its port",
        ),
        (
            all(json!({"forwarding": {"method": "FullNAT"}})),
            "spec.forwarding.method",
            "list `ports`",
        ),
        (
            all(json!({"realServers": null, "serviceRef": {"name": "web", "port": "x"}})),
            "spec.serviceRef.port",
            "keeps its port",
        ),
        (
            all(json!({"probes": [{"name": "t", "type": "TCP"}]})),
            "spec.probes[0].port",
            "no port of their own",
        ),
        (
            json!({"scheduler": {"name": "rr", "flags": ["Port"]}}),
            "spec.scheduler.flags",
            "sh and mh",
        ),
        (
            json!({"scheduler": {"name": "sh", "flags": ["Port", "Port"]}}),
            "spec.scheduler.flags",
            "listed twice",
        ),
        (
            json!({"persistence": {"timeout": "1500ms"}}),
            "spec.persistence.timeout",
            "whole seconds",
        ),
        (
            json!({"persistence": {"timeout": "745h"}}),
            "spec.persistence.timeout",
            "744h",
        ),
        (
            json!({"persistence": {"ipv4PrefixLength": 0}}),
            "spec.persistence.ipv4PrefixLength",
            "1 to 32",
        ),
        (
            json!({"persistence": {"ipv6PrefixLength": 129}}),
            "spec.persistence.ipv6PrefixLength",
            "1 to 128",
        ),
        (
            json!({"persistence": {"engine": "sip"}}),
            "spec.persistence.engine",
            "of UDP",
        ),
        (
            json!({"onePacket": true, "forwarding": {"method": "DR"}}),
            "spec.onePacket",
            "for UDP",
        ),
        (
            json!({"onePacket": true, "ports": [{"port": 53, "protocol": "UDP"}]}),
            "spec.onePacket",
            "choose DR or Tunnel",
        ),
        (
            json!({"quorum": {"weight": 0}}),
            "spec.quorum.weight",
            "1 to 67107840",
        ),
        (
            json!({"quorum": {"weight": 2, "hysteresis": 2}}),
            "spec.quorum.hysteresis",
            "must be below",
        ),
        (
            json!({"quorum": {"onLoss": ["Sorry", "Sorry"]}}),
            "spec.quorum.onLoss",
            "listed twice",
        ),
        (
            json!({"drain": {"timeout": "25h"}}),
            "spec.drain.timeout",
            "0s to 24h",
        ),
        // Forwarding.
        (
            json!({"forwarding": {"tunnel": {}}}),
            "spec.forwarding.tunnel",
            "method: Tunnel",
        ),
        (
            tunnel(json!({"port": 7})),
            "spec.forwarding.tunnel.port",
            "type: GUE",
        ),
        (
            tunnel(json!({"type": "GRE", "port": 7})),
            "spec.forwarding.tunnel.port",
            "type: GUE",
        ),
        (
            tunnel(json!({"type": "GUE"})),
            "spec.forwarding.tunnel.port",
            "required",
        ),
        (
            tunnel(json!({"type": "GUE", "port": 0})),
            "spec.forwarding.tunnel.port",
            "1 to 65535",
        ),
        (
            tunnel(json!({"checksum": "Full"})),
            "spec.forwarding.tunnel.checksum",
            "IPIP has no checksum",
        ),
        (
            tunnel(json!({"type": "GRE", "checksum": "Remote"})),
            "spec.forwarding.tunnel.checksum",
            "GRE has no `Remote`",
        ),
        (
            json!({"forwarding": {"method": "DR"}, "ports": [{"port": 80, "targetPort": 81}]}),
            "spec.ports[0].targetPort",
            "DR cannot change",
        ),
        (
            json!({"forwarding": {"method": "DR"}, "realServers": [{"address": "10.0.0.1", "port": 81}]}),
            "spec.realServers[0].port",
            "DR cannot change",
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": 81}], "realServers": [{"address": "10.0.0.1", "forwarding": {"method": "Tunnel"}}]}),
            "spec.realServers[0].forwarding.method",
            "Tunnel cannot change the port 80 to 81",
        ),
        (
            json!({"ports": [{"port": 80}, {"port": 81}], "forwarding": {"method": "DR"}, "sorryServer": {"address": "10.0.0.9", "port": 80}}),
            "spec.sorryServer.port",
            "cannot change the port 81",
        ),
        // Who serves.
        (
            json!({"realServers": null}),
            "spec.realServers",
            "name a Service",
        ),
        (
            json!({"serviceRef": {"name": "web"}}),
            "spec.realServers",
            "remove one of the two",
        ),
        (
            json!({"realServers": null, "serviceRef": {"name": "a.b"}}),
            "spec.serviceRef.name",
            "cannot be a Service",
        ),
        (
            json!({"realServers": null, "serviceRef": {"name": "web"}, "ports": [{"port": 80, "targetPort": 80}]}),
            "spec.ports[0].targetPort",
            "says its own port",
        ),
        (
            at("10.0.0.256"),
            "spec.realServers[0].address",
            "is not an IP address",
        ),
        (at("0.0.0.0"), "spec.realServers[0].address", "unspecified"),
        (at("224.0.0.1"), "spec.realServers[0].address", "multicast"),
        (
            at("255.255.255.255"),
            "spec.realServers[0].address",
            "broadcast",
        ),
        (at("ff02::1"), "spec.realServers[0].address", "multicast"),
        (
            at("fe80::1"),
            "spec.realServers[0].address",
            "on which link",
        ),
        (
            at("192.0.2.100"),
            "spec.realServers[0].address",
            "of VirtualRouter r itself",
        ),
        (
            real(json!([{"address": "10.0.0.1"}, {"address": "10.0.0.1"}])),
            "spec.realServers[1].address",
            "spec.realServers[0] already",
        ),
        (
            real(json!([{"address": "10.0.0.1"}, {"address": "10.0.0.1", "port": 80}])),
            "spec.realServers[1].address",
            "port 80 of 10.0.0.1",
        ),
        (
            real(json!([{"address": "10.0.0.1", "port": 65536}])),
            "spec.realServers[0].port",
            "0 to 65535",
        ),
        (
            real(json!([{"address": "10.0.0.1", "weight": -1}])),
            "spec.realServers[0].weight",
            "0 to 65535",
        ),
        (
            real(json!([{"address": "10.0.0.1", "lowerThreshold": 1}])),
            "spec.realServers[0].lowerThreshold",
            "at most `upperThreshold`",
        ),
        (
            json!({"sorryServer": {"address": "10.0.0.2"}}),
            "spec.sorryServer.address",
            "spec.realServers[1] as well",
        ),
        (
            json!({"sorryServer": {"address": "10.0.0.9", "port": 0}}),
            "spec.sorryServer.port",
            "1 to 65535",
        ),
    ]);
}

#[test]
fn each_broken_rule_of_a_probe_names_its_field_and_the_way_out() {
    let probe = |kind: &str, more: Value| {
        let mut probe = json!({"name": "p", "type": kind});
        super::merge(&mut probe, more);
        json!({"probes": [probe]})
    };
    let tcp = |more: Value| probe("TCP", more);
    let http = |more: Value| probe("HTTP", json!({"http": more}));
    let https = |more: Value| probe("HTTPS", json!({"https": more}));
    let header =
        |name: &str, value: &str| http(json!({"headers": [{"name": name, "value": value}]}));
    let digest = |value: &str| http(json!({"bodyDigest": {"value": value}}));
    check(&[
        (
            json!({"probes": [{"name": "p", "type": "TCP"}, {"name": "p", "type": "Ping"}]}),
            "spec.probes[1].name",
            "listed twice",
        ),
        (tcp(json!({"name": ""})), "spec.probes[0].name", "1 to 63"),
        (
            tcp(json!({"http": {}})),
            "spec.probes[0].http",
            "belongs to `type: HTTP`",
        ),
        (
            probe("HTTP", json!({"https": {}})),
            "spec.probes[0].https",
            "belongs to `type: HTTPS`",
        ),
        (probe("File", json!({})), "spec.probes[0].file", "required"),
        (probe("Exec", json!({})), "spec.probes[0].exec", "required"),
        (
            tcp(json!({"interval": "99ms"})),
            "spec.probes[0].interval",
            "100ms to 1h",
        ),
        (
            tcp(json!({"timeout": "11m"})),
            "spec.probes[0].timeout",
            "10ms to 10m",
        ),
        (
            tcp(json!({"delayAfterFailure": "6s"})),
            "spec.probes[0].delayAfterFailure",
            "100ms to 5s",
        ),
        (tcp(json!({"rise": 0})), "spec.probes[0].rise", "1 to 100"),
        (tcp(json!({"fall": 101})), "spec.probes[0].fall", "1 to 100"),
        (
            tcp(json!({"address": "::"})),
            "spec.probes[0].address",
            "unspecified",
        ),
        (
            tcp(json!({"address": "192.0.2.100"})),
            "spec.probes[0].address",
            "itself",
        ),
        (tcp(json!({"port": 0})), "spec.probes[0].port", "1 to 65535"),
        (
            tcp(json!({"source": "127.0.0.1"})),
            "spec.probes[0].source",
            "loopback",
        ),
        (
            tcp(json!({"source": "2001:db8::1"})),
            "spec.probes[0].source",
            "cannot ask 10.0.0.1, which is IPv4",
        ),
        (
            tcp(json!({"source": "192.0.2.100"})),
            "spec.probes[0].source",
            "one node at a time",
        ),
        (
            tcp(json!({"interface": "a b"})),
            "spec.probes[0].interface",
            "cannot be an interface",
        ),
        (
            tcp(json!({"mark": 0})),
            "spec.probes[0].mark",
            "1 to 4294967295",
        ),
        (
            probe("Ping", json!({"port": 7})),
            "spec.probes[0].port",
            "no meaning",
        ),
        (
            http(json!({"path": "healthz"})),
            "spec.probes[0].http.path",
            "begins with `/`",
        ),
        (
            http(json!({"path": "/a b"})),
            "spec.probes[0].http.path",
            "%20",
        ),
        (
            http(json!({"host": "a/b"})),
            "spec.probes[0].http.host",
            "is no host",
        ),
        (
            http(json!({"host": "a:b"})),
            "spec.probes[0].http.host",
            "is no port",
        ),
        (
            header("a b", ""),
            "spec.probes[0].http.headers[0].name",
            "RFC 9110",
        ),
        (
            header("Host", "x"),
            "spec.probes[0].http.headers[0].name",
            "set `host`",
        ),
        (
            header("x", "a\r\nb"),
            "spec.probes[0].http.headers[0].value",
            "without controls",
        ),
        (
            http(json!({"statuses": []})),
            "spec.probes[0].http.statuses",
            "1 to 16",
        ),
        (
            http(json!({"statuses": ["20"]})),
            "spec.probes[0].http.statuses[0]",
            "`200-299`",
        ),
        (
            http(json!({"statuses": ["299-200"]})),
            "spec.probes[0].http.statuses[0]",
            "`200-299`",
        ),
        (
            digest(&"0".repeat(32)),
            "spec.probes[0].http.bodyDigest.value",
            "64 hexadecimal",
        ),
        (
            digest(&"g".repeat(64)),
            "spec.probes[0].http.bodyDigest.value",
            "64 hexadecimal",
        ),
        (
            http(json!({"bodyRegex": "("})),
            "spec.probes[0].http.bodyRegex",
            "unclosed group",
        ),
        (
            http(json!({"bodyRegex": "(?:\\w{100}){100}"})),
            "spec.probes[0].http.bodyRegex",
            "too big",
        ),
        (
            http(json!({"method": "HEAD", "bodyRegex": "x"})),
            "spec.probes[0].http.bodyRegex",
            "no body",
        ),
        (
            https(json!({"path": "x"})),
            "spec.probes[0].https.path",
            "begins with `/`",
        ),
        (
            https(json!({"serverName": "a b"})),
            "spec.probes[0].https.serverName",
            "is no host",
        ),
        (
            https(json!({"insecureSkipVerify": true, "caRef": {"name": "ca"}})),
            "spec.probes[0].https.caRef",
            "remove one of the two",
        ),
        (
            https(json!({"caRef": {"name": "ca"}})),
            "spec.probes[0].https.caRef.name",
            "there is no ConfigMap ca in namespace shop",
        ),
        (
            https(json!({"caRef": {"name": "ca", "key": "a/b"}})),
            "spec.probes[0].https.caRef.key",
            "1 to 253",
        ),
        (
            probe("UDP", json!({"udp": {"payload": "abc"}})),
            "spec.probes[0].udp.payload",
            "even number",
        ),
        (
            probe("UDP", json!({"udp": {"payload": "XX"}})),
            "spec.probes[0].udp.payload",
            "hexadecimal",
        ),
        (
            probe("UDP", json!({"udp": {"reply": "yy"}})),
            "spec.probes[0].udp.reply",
            "`X` for any one",
        ),
        (
            probe("DNS", json!({"dns": {"name": "a..b"}})),
            "spec.probes[0].dns.name",
            "cannot be asked",
        ),
        (
            probe("DNS", json!({"dns": {"code": 16}})),
            "spec.probes[0].dns.code",
            "0 to 15",
        ),
        (
            probe("SMTP", json!({"smtp": {"helo": "a b"}})),
            "spec.probes[0].smtp.helo",
            "is no host",
        ),
        (
            probe("GRPC", json!({"grpc": {"service": "a\nb"}})),
            "spec.probes[0].grpc.service",
            "printed",
        ),
        (
            probe("File", json!({"file": {"path": "run/x"}})),
            "spec.probes[0].file.path",
            "absolute",
        ),
        (
            probe("Exec", json!({"exec": {"script": "../x"}})),
            "spec.probes[0].exec.script",
            "--scripts-dir",
        ),
    ]);
}

/// Asserts that each object is refused by the one rule it breaks.
fn check(bad: &[(Value, &str, &str)]) {
    for (patch, path, message) in bad {
        let compiled = alone(patch.clone());
        let [finding] = &compiled.findings[..] else {
            panic!("{patch}: {:#?}", super::text(&compiled.findings));
        };
        assert_eq!(
            (finding.severity, finding.path.as_str()),
            (Severity::Error, *path),
            "{patch}: {finding:?}"
        );
        assert!(finding.message.contains(message), "{patch}: {finding:?}");
        assert!(super::served(&compiled).is_empty(), "{patch}");
        // The router does not notice.
        assert_eq!(compiled.configs.len(), 1, "{patch}");
        assert!(compiled.configs[0].requires.is_empty());
    }
}
