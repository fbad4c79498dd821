use super::{is_forbidden, target};

/// Addresses from which the machines of each provider get their metadata, credentials or host agent.
const METADATA: [(&str, &str); 29] = [
    ("AWS", "169.254.169.254"),
    ("AWS, IPv6", "fd00:ec2::254"),
    ("AWS, tasks of ECS", "169.254.170.2"),
    ("AWS, pods of EKS", "169.254.170.23"),
    ("AWS, pods of EKS, IPv6", "fd00:ec2::23"),
    ("AWS, DNS", "169.254.169.253"),
    ("AWS, DNS, IPv6", "fd00:ec2::253"),
    ("Azure", "169.254.169.254"),
    ("Azure, host agent", "168.63.129.16"),
    ("Azure, host agent by NAT64", "64:ff9b::168.63.129.16"),
    ("Google Cloud", "169.254.169.254"),
    ("Google Cloud, IPv6", "fd20:ce::254"),
    ("Oracle Cloud", "169.254.169.254"),
    ("Oracle Cloud, IPv6", "fd00:c1::a9fe:a9fe"),
    ("Oracle Cloud, Classic", "192.0.0.192"),
    ("Alibaba Cloud", "100.100.100.200"),
    ("Tencent Cloud", "169.254.0.23"),
    ("IBM Cloud", "169.254.169.254"),
    ("DigitalOcean", "169.254.169.254"),
    ("Huawei Cloud", "169.254.169.254"),
    ("Hetzner Cloud", "169.254.169.254"),
    ("Linode", "169.254.169.254"),
    ("Linode, IPv6", "fd00:a9fe:a9fe::1"),
    ("Vultr", "169.254.169.254"),
    ("OVHcloud", "169.254.169.254"),
    ("Scaleway", "169.254.42.42"),
    ("Scaleway, IPv6", "fd00:42::42"),
    ("OpenStack", "169.254.169.254"),
    ("OpenStack, IPv6", "fe80::a9fe:a9fe"),
];

/// The first and the last address of every forbidden range, and IPv6 addresses that contain a forbidden IPv4 address.
const FORBIDDEN: &str = "
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255
169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255
192.0.2.0 192.0.2.255 192.88.99.0 192.88.99.255 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255
198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255
:: ::1 ::8.8.8.8 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8 ff:ffff:ffff:ffff::
64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 64:ff9b:0:1::8.8.8.8
100:: 100::ffff:ffff:ffff:ffff 2001:: 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1ff:ffff:ffff::
2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 2002:: 2002:7f00:1:: 2002:ffff:ffff:ffff::
3fff:: 3fff:fff:ffff:ffff:: 4000:: 5f00:: fc00:: fd00:ec2::254 fdff:ffff:ffff:ffff:: fe80::1 febf::1
fec0::1 feff::1 ff00:: ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
";

/// Public addresses, including the direct neighbours of the forbidden ranges.
const PUBLIC: &str = "
1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0
192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0
223.255.255.255 2000:: 2001:200:: 2001:4860:4860::8888 2001:db7:ffff:ffff:: 2001:db9:: 2003:: 2606:4700::1111
2a00:1450:4001::1 3ffe:ffff:ffff:ffff:: 3fff:1000:: 64:ff9b::8.8.8.8
";

#[test]
fn non_public_addresses_are_forbidden() {
    for address in FORBIDDEN.split_whitespace() {
        assert!(is_forbidden(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn the_metadata_of_every_cloud_is_forbidden() {
    for (provider, address) in METADATA {
        assert!(
            is_forbidden(address.parse().unwrap()),
            "{provider}: {address}"
        );
    }
    for neighbour in ["168.63.129.15", "168.63.129.17", "64:ff9b::168.63.129.17"] {
        assert!(!is_forbidden(neighbour.parse().unwrap()), "{neighbour}");
    }
}

#[test]
fn an_address_of_nat64_stands_for_its_ipv4_address() {
    let target = |text: &str| target(text.parse().unwrap()).to_string();
    assert_eq!(target("64:ff9b::8.8.8.8"), "8.8.8.8");
    assert_eq!(target("64:ff9b:1::8.8.8.8"), "64:ff9b:1::808:808");
    assert_eq!(target("8.8.8.8"), "8.8.8.8");
}

#[test]
fn public_addresses_are_not_forbidden() {
    for address in PUBLIC.split_whitespace() {
        assert!(!is_forbidden(address.parse().unwrap()), "{address}");
    }
}
