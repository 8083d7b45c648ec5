//! A host for one test: a thread in a network namespace of its own, with containers and a neighbour as namespaces.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use cais_net::attach::{self, Attachment, create_attached_netns, host_interface_name};
use cais_net::bridge::BridgeConfig;
use cais_sys::netns::unshare_network;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Long enough for a loaded machine; a test that meets it has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what must not arrive. Each use stands beside a control that does arrive.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// Runs `test` on a host of its own, or says why not.
pub fn on_fake_host(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            match unshare_network() {
                Ok(()) => {}
                Err(Errno::PERM) => return println!("skipped: network namespaces need root"),
                Err(error) => panic!("unshare: {error}"),
            }
            attach::loopback_up(current_netns().as_fd()).expect("lo");
            test();
        });
        if let Err(panic) = host.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub fn current_netns() -> OwnedFd {
    open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("netns")
}

/// Runs `work` on a thread in `namespace`.
pub fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let joined = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            work()
        });
        joined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program in the calling thread's namespace; `None`, with a word about it, where it is not installed.
pub fn tool(program: &str, arguments: &str) -> Option<String> {
    let child = Command::new(program)
        .args(arguments.split_ascii_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(child) = child else {
        println!("skipped: {program} is not installed");
        return None;
    };
    let output = child.wait_with_output().expect("wait");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    Some(String::from_utf8(output.stdout).expect("utf-8"))
}

/// Everything that `ip` can do in one go, a command a line.
pub fn ip(commands: &[&str]) -> Option<()> {
    commands.iter().try_for_each(|command| tool("ip", command).map(drop))
}

pub fn setting(path: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{path}"), value).expect(path);
}

pub fn read_setting(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).expect(path).trim().to_owned()
}

/// Names of all network interfaces of the calling thread's namespace.
pub fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("net/dev");
    table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// A container as far as the network goes.
#[derive(Debug)]
pub struct Container {
    pub namespace: OwnedFd,
    pub ip: Ipv4Addr,
}

pub fn attachment(bridge: &BridgeConfig, number: u32) -> Attachment {
    static NONCE: AtomicU32 = AtomicU32::new(0);
    let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
    Attachment {
        ip: bridge.subnet.candidates(bridge.gateway, u64::from(number)).next().expect("an address"),
        mac: None,
        host_interface: host_interface_name(&format!("{number:08x}"), nonce),
        interface: "eth0".to_owned(),
        reflect: true,
    }
}

impl Container {
    pub fn start(bridge: &BridgeConfig, number: u32) -> Self {
        let attachment = attachment(bridge, number);
        let namespace = create_attached_netns(bridge, &attachment).expect("attach");
        Self { namespace, ip: attachment.ip }
    }
}

/// A machine beside the host: 192.0.2.2 with a link to 192.0.2.1.
pub fn neighbour() -> Option<OwnedFd> {
    let namespace = attach_free_netns();
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    ip(&[
        "link add lan0 type veth peer name eth0",
        "addr add 192.0.2.1/24 dev lan0",
        "link set lan0 up",
        &format!("link set eth0 netns {path}"),
    ])?;
    inside(&namespace, || ip(&["addr add 192.0.2.2/24 dev eth0", "link set lo up", "link set eth0 up"]))?;
    Some(namespace)
}

fn attach_free_netns() -> OwnedFd {
    attach::create_netns().expect("netns")
}

/// A server that tells each client its name and the address that it sees. Lives until the test's process ends.
pub fn serve_tcp(port: u16, name: &'static str) {
    serve_tcp_at(Ipv4Addr::UNSPECIFIED, port, name);
}

pub fn serve_tcp_at(ip: Ipv4Addr, port: u16, name: &'static str) {
    let listener = TcpListener::bind(SocketAddrV4::new(ip, port)).expect("bind");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let peer = stream.peer_addr().expect("peer").ip();
            let _ = stream.write_all(format!("{name} {peer}").as_bytes());
        }
    });
}

pub fn serve_udp(port: u16, name: &'static str) {
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).expect("bind");
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

/// What the server at `ip`:`port` says, to which a connection must be possible.
pub fn ask_tcp(ip: Ipv4Addr, port: u16) -> String {
    try_tcp(ip, port, PATIENCE).unwrap_or_else(|error| panic!("tcp {ip}:{port}: {error}"))
}

/// Whether a connection is possible, found out quickly.
pub fn reaches_tcp(ip: Ipv4Addr, port: u16) -> bool {
    try_tcp(ip, port, IMPATIENCE).is_ok()
}

fn try_tcp(ip: Ipv4Addr, port: u16, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub fn ask_udp(ip: Ipv4Addr, port: u16) -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
    ask_udp_from(&socket, ip, port).unwrap_or_else(|| panic!("udp {ip}:{port}: no answer"))
}

/// Sends until an answer comes, or a while has passed.
pub fn ask_udp_from(socket: &UdpSocket, ip: Ipv4Addr, port: u16) -> Option<String> {
    socket.set_read_timeout(Some(IMPATIENCE)).expect("timeout");
    for _ in 0..10 {
        if send_and_receive(socket, ip, port).is_some_and(|answer| !answer.is_empty()) {
            return send_and_receive(socket, ip, port);
        }
    }
    None
}

/// One datagram and its answer.
pub fn send_and_receive(socket: &UdpSocket, ip: Ipv4Addr, port: u16) -> Option<String> {
    let mut buffer = [0; 64];
    socket.set_read_timeout(Some(IMPATIENCE)).expect("timeout");
    socket.send_to(b"?", (ip, port)).ok()?;
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
