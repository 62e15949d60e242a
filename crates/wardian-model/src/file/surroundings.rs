//! Whether a specification can live on one host: its lab network, its memory, its images.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{
    check::{Finding, Part, place_of},
    walk::nearest,
};
use crate::{
    name::ImageName,
    size::ByteSize,
    spec::{EnvironmentSpec, Subnet},
};

/// What a specification meets on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The lab network.
    pub lab: Ipv4Net,
    /// All memory of the host; not checked when unknown.
    pub memory_total: Option<ByteSize>,
    /// The images there are; not checked when unknown.
    pub images: Option<Vec<ImageName>>,
}

/// Everything about `spec` that can't work in these surroundings. What is wrong on any host is [`super::check`]'s.
#[must_use]
pub fn check_on(spec: &EnvironmentSpec, surroundings: &Surroundings) -> Vec<Finding> {
    let mut found = Vec::new();
    overlap(spec, surroundings.lab, &mut found);
    if let Some(total) = surroundings.memory_total {
        memory(spec, total, &mut found);
    }
    if let Some(images) = &surroundings.images {
        missing(spec, images, &mut found);
    }
    found
}

fn overlap(spec: &EnvironmentSpec, lab: Ipv4Net, found: &mut Vec<Finding>) {
    for subnet in spec.network.subnets.iter() {
        overlapping(subnet, lab, found);
    }
}

fn overlapping(Subnet { name, net: subnet, .. }: Subnet<'_>, lab: Ipv4Net, found: &mut Vec<Finding>) {
    let overlaps = |subnet: &Ipv4Net| lab.contains(subnet) || subnet.contains(&lab);
    if !overlaps(&subnet) {
        return;
    }
    let message = format!("the subnet {subnet} overlaps the lab network {lab}, so answers would not find their way");
    let free = [Ipv4Addr::new(192, 168, 23, 0), Ipv4Addr::new(10, 23, 0, 0), Ipv4Addr::new(172, 23, 0, 0)]
        .into_iter()
        .filter_map(|address| Ipv4Net::new(address, subnet.prefix_len()).ok())
        .find(|net| net.trunc() == *net && !overlaps(net));
    let hint = match free {
        Some(free) => {
            let key = name.map_or("subnet", |name| name.as_str());
            format!("choose another under `network`, as in `{key}: {free}`")
        }
        None => "choose another under `network`, or another lab network".to_owned(),
    };
    found.push(Finding::error(place_of(name), message).hint(hint));
}

fn memory(spec: &EnvironmentSpec, total: ByteSize, found: &mut Vec<Finding>) {
    let before = found.len();
    for (name, machine) in &spec.machines {
        if machine.memory > total {
            let message =
                format!("{name} wants {} of memory; the host has {}", machine.memory, rounded(total.as_bytes()));
            let finding = Finding::error(format!("machines/{name}/memory"), message);
            found.push(finding.hint("give it less"));
        }
    }
    let sum = spec.machines.values().fold(0_u64, |sum, machine| sum.saturating_add(machine.memory.as_bytes()));
    if found.len() > before || sum <= total.as_bytes() {
        return;
    }
    let mut parts: Vec<String> =
        spec.machines.iter().take(6).map(|(name, machine)| format!("{name} {}", machine.memory)).collect();
    if let Some(more) = spec.machines.len().checked_sub(7).map(|n| n + 1) {
        parts.push(format!("{more} more"));
    }
    let message = format!(
        "the machines want more memory than the host has: {} = {}, of {}",
        parts.join(" + "),
        rounded(sum),
        rounded(total.as_bytes()),
    );
    let hint = "give the machines less with `memory`";
    found.push(Finding { part: Part::Key, ..Finding::error("machines", message).hint(hint) });
}

/// In MiB, large amounts in tenths of a GiB; for amounts nobody has chosen.
fn rounded(bytes: u64) -> String {
    let (unit, name) = if bytes >= 10 << 30 { (1_u64 << 30, "GiB") } else { (1 << 20, "MiB") };
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    if name == "MiB" || tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

fn missing(spec: &EnvironmentSpec, images: &[ImageName], found: &mut Vec<Finding>) {
    for (name, machine) in &spec.machines {
        if images.contains(&machine.image) {
            continue;
        }
        let message = format!("there is no image {}, which {name} starts from", machine.image);
        let hint = match nearest(machine.image.as_str(), images.iter().map(ImageName::as_str)) {
            Some(near) => format!("did you mean `{near}`? `wardian image ls` lists them"),
            None if images.is_empty() => {
                format!("there are no images yet; import it with `wardian image import {} FILE`", machine.image)
            }
            None => format!("`wardian image ls` lists them; `wardian image import {} FILE` adds one", machine.image),
        };
        found.push(Finding::error(format!("machines/{name}/image"), message).hint(hint));
    }
}
