//! Envelopes taken off by a device's driver (XDP, `bpf/early.h`), where that is wanted and the device can.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use aya::programs::{
    ProgramError, TestRun, TestRunOptions, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};

use super::{Filter, FilterError, index, tables};

/// Of such pins: they go before those of `arrive`, which must be there for what has a note.
pub(super) const PIN: &str = "early-";

/// What is known of a packet whose envelope was taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOff {
    /// The number of the subnet that it claims to be of.
    pub vsid: u32,
    /// The provider address that it claims to come from.
    pub sender: Ipv4Addr,
    /// The inner frame.
    pub frame: Vec<u8>,
}

/// How long packets may be under way to `arrive` that have a note when no further get one.
const UNDER_WAY: Duration = Duration::from_millis(100);

impl Filter {
    /// Has envelopes taken off by the driver of a device that receives ([`Self::receive`]), whose hardware address is
    /// `mac`. Another's program there stays, and is a reason to refuse.
    ///
    /// # Errors
    /// [`FilterError::NoXdp`] when device or kernel refuse. Envelopes are left to `arrive` then.
    pub fn take_off_early(&mut self, device: &str, mac: [u8; 6]) -> Result<(), FilterError> {
        // Before anything has a note, so that none passes for something of the host's.
        self.put("faces", index(device)?, tables::face(mac, true))?;
        let attached = self.attach_early(device);
        if attached.is_err() {
            // Else what another's program there writes before packets would be taken for notes.
            self.take_off_late(device, mac)?;
        }
        attached
    }

    fn attach_early(&mut self, device: &str) -> Result<(), FilterError> {
        let pin = self.early_pin(device)?;
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| FilterError::NoXdp { device: device.to_owned(), source };
        let program = self.early().map_err(|error| failed(error.into()))?;
        if let Ok(link) = PinnedLink::from_pin(&pin) {
            let link = XdpLink::try_from(FdLink::from(link)).map_err(|error| failed(error.into()))?;
            // The pin holds it, and not this process.
            if program.attach_to_link(link).and_then(|id| program.take_link(id)).is_ok() {
                return Ok(());
            }
            // Of a device that is gone, whose number another has now.
            std::fs::remove_file(&pin).map_err(|source| FilterError::Detach { pin: pin.clone(), source })?;
        }
        let link = program
            .attach(device, XdpMode::Driver)
            .and_then(|id| program.take_link(id))
            .map_err(|error| failed(error.into()))?;
        // One that can't be pinned is taken away here.
        let link = FdLink::try_from(link).map_err(|error| failed(error.into()))?;
        link.pin(&pin).map_err(|error| FilterError::Attach { device: device.to_owned(), source: error.into() })?;
        Ok(())
    }

    /// Leaves envelopes at a device to `arrive`. Nothing there has a note afterwards.
    ///
    /// # Errors
    /// When the system refuses, or there is no such device.
    pub fn take_off_late(&mut self, device: &str, mac: [u8; 6]) -> Result<(), FilterError> {
        let pin = self.early_pin(device)?;
        match std::fs::remove_file(&pin) {
            Ok(()) => std::thread::sleep(UNDER_WAY),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(FilterError::Detach { pin, source }),
        }
        self.put("faces", index(device)?, tables::face(mac, false))
    }

    fn early_pin(&self, device: &str) -> Result<PathBuf, FilterError> {
        Ok(self.pins.join(format!("{PIN}{}", index(device)?)))
    }

    /// What a driver makes of a packet: nothing where it leaves it as it is.
    ///
    /// # Errors
    /// When no driver was asked to ([`Self::take_off_early`]), or the kernel refuses to try: it takes 14 to about 3,500
    /// bytes.
    pub fn try_early(&self, packet: &[u8]) -> Result<Option<TakenOff>, FilterError> {
        let failed = |source: ProgramError| FilterError::Judge { source: source.into() };
        let program: &Xdp =
            self.bpf.program("early").ok_or(ProgramError::NotLoaded).and_then(TryInto::try_into).map_err(failed)?;
        let mut made = vec![0; 4096];
        let options = TestRunOptions { data_in: Some(packet), data_out: Some(&mut made), ..TestRunOptions::new() };
        let outcome = program.test_run(options).map_err(failed)?;
        made.truncate(outcome.data_size_out as usize);
        Ok(tables::read_note(&made).map(|(vsid, sender, frame)| TakenOff { vsid, sender, frame: frame.to_vec() }))
    }

    /// Loaded when it is asked for: hosts do without where the kernel does not know it.
    fn early(&mut self) -> Result<&mut Xdp, ProgramError> {
        let program: &mut Xdp = self.bpf.program_mut("early").ok_or(ProgramError::NotLoaded)?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }
}
