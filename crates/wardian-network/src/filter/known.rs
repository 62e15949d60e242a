//! The filter's tables, read back as the policy that they were made from: a daemon that starts finds its predecessor's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use aya::{Pod, maps::HashMap};
use wardian_model::vsid::Vsid;
use wardian_plan::fabric::{Encapsulation, HostPolicy, Lookup, Rewrite, Switch};

use super::{Filter, FilterError, read, tables};

/// What stands for something half written: no host has this address, so no policy is equal to that, and the next one
/// writes it whole or removes it.
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

impl Filter {
    /// What the filter knows. What a daemon had half written when it was killed is told as what no policy says.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn known(&self) -> Result<HostPolicy, FilterError> {
        let stations = self.rows::<tables::StationKey, tables::StationValue>("stations")?;
        let stations =
            stations.iter().filter_map(|(key, value)| Some((tables::read_station_key(key)?, (*value).into())));
        Ok(HostPolicy { switches: self.switches()?, stations: stations.collect(), lookups: self.lookups()? })
    }

    /// The subnets whose switches are connected.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn connected(&self) -> Result<BTreeSet<Vsid>, FilterError> {
        let switches = self.rows::<u32, u32>("switches")?;
        Ok(switches.into_iter().filter_map(|(number, _)| Vsid::try_from(number).ok()).collect())
    }

    fn switches(&self) -> Result<BTreeMap<Vsid, Switch>, FilterError> {
        let mut peers: BTreeMap<Vsid, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for (key, _) in self.rows::<tables::PeerKey, u8>("peers")? {
            if let Some((vsid, peer)) = tables::read_address_key(&key) {
                peers.entry(vsid).or_default().insert(peer);
            }
        }
        let floods: BTreeMap<u32, tables::FloodValue> = self.rows("floods")?.into_iter().collect();
        for vsid in floods.keys().filter_map(|number| Vsid::try_from(*number).ok()) {
            peers.entry(vsid).or_default();
        }
        let ports: BTreeMap<u32, tables::PortValue> = self.rows("ports")?.into_iter().collect();
        let devices: BTreeMap<u32, u32> = self.rows("switches")?.into_iter().collect();
        let switch = |(vsid, mut peers): (Vsid, BTreeSet<Ipv4Addr>)| {
            if floods.get(&vsid.number()) != Some(&tables::flood(&peers)) {
                peers.insert(NOBODY);
            }
            // Before it is connected these two are nowhere, and nothing goes by them.
            let port = devices.get(&vsid.number()).and_then(|device| ports.get(device));
            let (domain, encapsulation) = port.and_then(tables::read_port).unwrap_or((0, Encapsulation::Nvgre));
            (vsid, Switch { domain, encapsulation, peers })
        };
        Ok(peers.into_iter().map(switch).collect())
    }

    fn lookups(&self) -> Result<BTreeMap<(Vsid, Ipv4Addr), Lookup>, FilterError> {
        let outsides: BTreeMap<tables::InsideKey, [u8; 4]> = self.rows("outsides")?.into_iter().collect();
        let owners = self.rows::<[u8; 4], tables::OwnerValue>("owners")?.into_iter().filter_map(|(own, owner)| {
            let (domain, vsid, address) = tables::read_owner(&owner)?;
            Some(((vsid, address), (Rewrite { address: own.into(), domain }, owner)))
        });
        let owners: BTreeMap<_, _> = owners.collect();
        let mut lookups = BTreeMap::new();
        for (key, value) in self.rows::<tables::AddressKey, tables::AddressValue>("addresses")? {
            let (Some((vsid, address)), Some((mac, provider))) =
                (tables::read_address_key(&key), tables::read_address(&value))
            else {
                continue;
            };
            let mut lookup = Lookup { mac, provider, rewrite: None };
            if let Some((rewrite, owner)) = owners.get(&(vsid, address)) {
                lookup.rewrite = Some(*rewrite);
                let outside = outsides.get(&tables::inside_key(rewrite.domain, address));
                if *owner != tables::owner(vsid, address, &lookup, *rewrite)
                    || outside != Some(&rewrite.address.octets())
                {
                    lookup.provider = NOBODY;
                }
            }
            lookups.insert((vsid, address), lookup);
        }
        Ok(lookups)
    }

    /// All there is in a table. Nobody else writes it meanwhile.
    pub(super) fn rows<K: Pod, V: Pod>(&self, name: &'static str) -> Result<Vec<(K, V)>, FilterError> {
        let table: HashMap<_, K, V> = self.map(name).and_then(HashMap::try_from).map_err(read(name))?;
        table.iter().collect::<Result<_, _>>().map_err(read(name))
    }
}
