//! A probe of a node under load: how long `/livez` takes while the node is busy with other things.
//!
//! `kithara-bench ADDRESS [SECONDS]` asks every 5 ms over one connection and prints the latencies.
//! The benches beside it (`cargo bench --bench NAME`) measure single parts without a node.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

const INTERVAL: Duration = Duration::from_millis(5);
const USAGE: &str = "usage: kithara-bench ADDRESS [SECONDS], for example 127.0.0.1:7700 10";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or(USAGE)?;
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse()).map_err(|_| USAGE)?;
    let latencies = probe(&address, Duration::from_secs(seconds))?;
    println!("/livez of {address}, {} requests, milliseconds", latencies.len());
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        println!("{name:<6} {:>8.3}", latencies.value_at_quantile(quantile) as f64 / 1000.0);
    }
    Ok(())
}

/// Latencies in microseconds. Each counts from when its request was due, so that a stall is not
/// hidden by the requests it held up.
fn probe(address: &str, length: Duration) -> Result<Histogram<u64>, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let request = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut latencies = Histogram::new(3)?;
    let start = Instant::now();
    let mut due = start;
    while due - start < length {
        wait_until(due);
        stream.write_all(request.as_bytes())?;
        read_answer(&mut reader)?;
        latencies.record(due.elapsed().as_micros() as u64)?;
        due += INTERVAL;
    }
    Ok(latencies)
}

/// This process is no node: nothing else waits for its only thread.
#[allow(clippy::disallowed_methods)]
fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Reads one answer with a `Content-Length`; what is not 200 is an error.
fn read_answer(reader: &mut BufReader<TcpStream>) -> Result<(), Box<dyn Error>> {
    let (mut head, mut body_bytes) = (String::new(), 0);
    loop {
        let from = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err("the node closed the connection".into());
        }
        match head[from..].trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                body_bytes = value.trim().parse()?;
            }
            None if head[from..].trim_end().is_empty() => break,
            _ => {}
        }
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.into());
    }
    std::io::Read::read_exact(reader, &mut vec![0; body_bytes])?;
    Ok(())
}
