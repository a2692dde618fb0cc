//! Which addresses no request of ours may go to, unless an origin's configuration says so.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A node stands inside a network that its clients cannot reach. A name that resolves into that
//! network, or a redirect that points there, would make it their way in. So what is checked is the
//! very address that is given to `connect`, on every hop and for every connection; a check of the
//! name would be undone by the next answer of its name server.
//!
//! The lists are the special-purpose registries of IANA (RFC 6890 and its updates). For IPv6 the
//! rule is turned round: only global unicast (`2000::/3`) passes, less what is carved out of it.

// The address types alone; nothing of `std`'s sockets is meant.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What is not globally reachable in IPv4.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),       // this network; Linux connects 0.0.0.0 to loopback
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // carrier-grade NAT; clouds keep services there
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local; instance metadata of clouds
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 88, 99, 0], 24),  // 6to4 relays, gone
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // benchmarking
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 4),     // multicast
    v4([240, 0, 0, 0], 4),     // reserved, and broadcast
];

const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
/// The well-known prefix of RFC 6052. A prefix of a network's own cannot be told from the rest.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// What is carved out of global unicast.
const SPECIAL_V6: [Ipv6Net; 3] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments: benchmarking, ORCHID, Teredo
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Whether a connection to `address` is allowed for an origin with these exceptions.
///
/// An IPv4 address inside an IPv6 one is excepted only where the two are the same socket address
/// (`::ffff:a.b.c.d`); a translator or tunnel to it needs a network of its own in the list.
pub fn is_allowed(address: IpAddr, exceptions: &[IpNet]) -> bool {
    let address = address.to_canonical();
    is_global(address) || exceptions.iter().any(|net| net.contains(&address))
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    if NAT64.contains(&address) {
        return is_global_v4(tail(address));
    }
    GLOBAL_V6.contains(&address)
        && !SPECIAL_V6.iter().any(|net| net.contains(&address))
        && embedded(address).into_iter().flatten().all(is_global_v4)
}

/// The IPv4 addresses that a router may find in `address`: 6to4 and ISATAP.
///
/// Mapped ones were made IPv4 before; "compatible" ones (`::a.b.c.d`) are not global unicast, and
/// Teredo, whose relays are gone, is among the protocol assignments.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let s = address.segments();
    let six_to_four = SIX_TO_FOUR.contains(&address).then(|| join(s[1], s[2]));
    let isatap = (s[4] & !0x0200 == 0 && s[5] == 0x5efe).then(|| tail(address));
    [six_to_four, isatap]
}

fn tail(address: Ipv6Addr) -> Ipv4Addr {
    let s = address.segments();
    join(s[6], s[7])
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(address: &str, exceptions: &[&str]) -> bool {
        let nets: Vec<IpNet> = exceptions.iter().map(|net| net.parse().unwrap()).collect();
        is_allowed(address.parse().unwrap(), &nets)
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:81b::200e",
            "2400:cb00::1",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
            "64:ff9b::808:808",
        ] {
            assert!(allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn special_addresses_are_refused() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "2001:2::1",
            "2001:20::1",
            "100::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn special_addresses_inside_others_are_refused() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::8.8.8.8",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2002:a9fe:a9fe::1",
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::808:808",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "2001:0:4136:e378:8000:63bf:f5ff:fffe",
            "2a00:1::5efe:10.0.0.1",
            "2a00:1::200:5efe:127.0.0.1",
            "fe80::5efe:8.8.8.8",
        ] {
            assert!(!allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn an_exception_allows_its_own_network_only() {
        assert!(allowed("127.0.0.1", &["127.0.0.0/8"]));
        assert!(allowed("::ffff:127.0.0.1", &["127.0.0.0/8"]));
        assert!(allowed("::1", &["127.0.0.0/8", "::1/128"]));
        assert!(!allowed("::1", &["127.0.0.0/8"]));
        assert!(!allowed("10.0.0.1", &["10.0.0.2/32", "127.0.0.0/8"]));
        assert!(!allowed("64:ff9b::7f00:1", &["127.0.0.0/8"]));
    }
}
