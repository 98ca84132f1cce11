//! `/sys/devices/system/memory`: the machine's memory in blocks of 128 MiB.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Weak;
use alloc::vec::Vec;

use foliant_phys::{OnlineTo, Phys, SECTION, SectionState};
use foliant_platform::Platform;
use foliant_uapi::text::{MemoryBlock, OnlineType, block_size_bytes};
use foliant_units::{Errno, PAGE_SIZE, Pfn};

use super::block_state::{Again, boolean, change, online_to, pause};
use super::probe::probe;
use crate::fs::pseudo::{Place, PseudoLink, TextSource};
use crate::fs::{Caller, FileType, Link, NodeRef};
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// The directory, below `/sys`.
pub(super) const DIRECTORY: &[u8] = b"devices/system/memory";

/// One of the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    AutoOnlineBlocks,
    BlockSizeBytes,
    /// There only where memory can come.
    Probe,
    OfBlock(u64, &'static str),
}

/// A file of a machine.
pub(super) struct File<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
    name: Name,
}

impl<M: UserMachine> File<M> {
    /// The file at `path`, if there is one.
    pub(super) fn find(kernel: &Weak<Kernel<M>>, path: &[u8]) -> Option<Self> {
        let rest = path.strip_prefix(DIRECTORY)?.strip_prefix(b"/")?;
        let owner = kernel.upgrade()?;
        let name = match core::str::from_utf8(rest).ok()? {
            "probe" if grows(&owner) => Name::Probe,
            path => name_of(owner.memory().phys(), path)?,
        };
        Some(Self {
            kernel: kernel.clone(),
            name,
        })
    }

    /// Its permissions.
    pub(super) const fn mode(&self) -> u32 {
        match self.name {
            Name::AutoOnlineBlocks => 0o644,
            Name::Probe => 0o200,
            Name::OfBlock(_, name) => match name.as_bytes() {
                b"state" | b"online" => 0o644,
                _ => 0o444,
            },
            Name::BlockSizeBytes => 0o444,
        }
    }
}

impl<M: UserMachine> TextSource for File<M> {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        match self.name {
            // Not even by those whom modes do not bind.
            Name::Probe => Err(Errno::ACCES),
            name => text(kernel.memory().phys(), name).ok_or(Errno::NODEV),
        }
    }

    fn write(&self, text: &[u8], by: Caller) -> Result<(), Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        let phys = kernel.memory().phys();
        let start = kernel.uptime();
        let again = |movable: bool| pause(&kernel, by, start, movable);
        match self.name {
            Name::Probe => probe(phys, kernel.settings().hotplug, text),
            name => write(phys, name, text, &again),
        }
    }
}

/// Whether memory can come.
fn grows<M: UserMachine>(kernel: &Kernel<M>) -> bool {
    !kernel.settings().hotplug.is_empty()
}

/// The link at `path`, if there is one: to a block's node, or to its bus.
pub(super) fn link<M: UserMachine>(
    kernel: &Weak<Kernel<M>>,
    path: &[u8],
    place: &Place,
) -> Option<NodeRef<M>> {
    let rest = path.strip_prefix(DIRECTORY)?.strip_prefix(b"/")?;
    let (directory, name) = core::str::from_utf8(rest).ok()?.split_once('/')?;
    let owner = kernel.upgrade()?;
    let phys = owner.memory().phys();
    let block = block_of(phys, directory)?;
    let target = match name {
        "subsystem" => b"../../../../bus/memory".to_vec(),
        name if name == node_of(phys, block) => format!("../../node/{name}").into_bytes(),
        _ => return None,
    };
    let place = place.below(name.as_bytes(), 0o777);
    Some(PseudoLink::new(place, move |_| Ok(Link::Text(target.clone()))))
}

/// The name of the link to a block's node.
fn node_of<P: Platform>(phys: &Phys<P>, block: u64) -> String {
    format!("node{}", phys.section_node(Pfn::new(block * SECTION)).0)
}

/// Whether `path` is a directory on the way to one of the files.
pub(super) fn leads<M: UserMachine>(kernel: &Weak<Kernel<M>>, path: &[u8]) -> bool {
    let above = DIRECTORY.strip_prefix(path);
    if above.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
        return !path.is_empty();
    }
    let Some(kernel) = kernel.upgrade() else {
        return false;
    };
    let block = path
        .strip_prefix(DIRECTORY)
        .and_then(|rest| rest.strip_prefix(b"/"));
    let block = block.and_then(|name| core::str::from_utf8(name).ok());
    block.is_some_and(|name| block_of(kernel.memory().phys(), name).is_some())
}

/// The names in the directory `path`, and what they are.
pub(super) fn names<M: UserMachine>(kernel: &Weak<Kernel<M>>, path: &[u8]) -> Vec<(Vec<u8>, FileType)> {
    if let Some(rest) = DIRECTORY.strip_prefix(path)
        && !rest.is_empty()
    {
        let rest = if path.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix(b"/")
        };
        let next = rest.and_then(|rest| rest.split(|&byte| byte == b'/').next());
        let directory = |name: &[u8]| (name.to_vec(), FileType::Directory);
        return next.map(directory).into_iter().collect();
    }
    if !leads(kernel, path) {
        return Vec::new();
    }
    let Some(kernel) = kernel.upgrade() else {
        return Vec::new();
    };
    let phys = kernel.memory().phys();
    let file = |name: &str| (name.as_bytes().to_vec(), FileType::Regular);
    if path != DIRECTORY {
        let mut names = MemoryBlock::FILES.map(file).to_vec();
        let directory = path.strip_prefix(DIRECTORY).and_then(|rest| rest.get(1..));
        let directory = directory.and_then(|name| core::str::from_utf8(name).ok());
        let node = directory
            .and_then(|name| block_of(phys, name))
            .map(|block| node_of(phys, block));
        let links = node.into_iter().chain(["subsystem".to_owned()]);
        names.extend(links.map(|name| (name.into_bytes(), FileType::Symlink)));
        return names;
    }
    let mut names = ["auto_online_blocks", "block_size_bytes"].map(file).to_vec();
    names.extend(grows(&kernel).then(|| file("probe")));
    let directory = |first: Pfn| format!("memory{}", first.raw() / SECTION).into_bytes();
    names.extend(
        phys.sections()
            .map(|first| (directory(first), FileType::Directory)),
    );
    names
}

/// The block that a directory is of, if the machine has it.
fn block_of<P: Platform>(phys: &Phys<P>, directory: &str) -> Option<u64> {
    let index: u64 = directory.strip_prefix("memory")?.parse().ok()?;
    let is_its_name = format!("memory{index}") == directory;
    let first = Pfn::new(index.checked_mul(SECTION)?);
    (is_its_name && phys.section_state(first) != SectionState::Absent).then_some(index)
}

fn name_of<P: Platform>(phys: &Phys<P>, path: &str) -> Option<Name> {
    match path {
        "auto_online_blocks" => Some(Name::AutoOnlineBlocks),
        "block_size_bytes" => Some(Name::BlockSizeBytes),
        path => {
            let (directory, file) = path.split_once('/')?;
            let file = MemoryBlock::FILES.into_iter().find(|name| *name == file)?;
            Some(Name::OfBlock(block_of(phys, directory)?, file))
        }
    }
}

fn text<P: Platform>(phys: &Phys<P>, name: Name) -> Option<Vec<u8>> {
    match name {
        Name::AutoOnlineBlocks => {
            let policy = match phys.auto_online() {
                None => OnlineType::Offline,
                Some(OnlineTo::Default) => OnlineType::Online,
                Some(OnlineTo::Kernel) => OnlineType::OnlineKernel,
                Some(OnlineTo::Movable) => OnlineType::OnlineMovable,
            };
            Some(format!("{}\n", policy.name()).into_bytes())
        }
        Name::Probe => None,
        Name::BlockSizeBytes => Some(block_size_bytes(SECTION * PAGE_SIZE as u64)),
        Name::OfBlock(index, file) => block(phys, index)?.file(file),
    }
}

fn block<P: Platform>(phys: &Phys<P>, index: u64) -> Option<MemoryBlock> {
    let first = Pfn::new(index * SECTION);
    let online = match phys.section_state(first) {
        SectionState::Absent => return None,
        SectionState::Online => true,
        SectionState::Offline => false,
    };
    let zones = phys.valid_zones(first).map(|kind| kind.name().to_string());
    Some(MemoryBlock {
        index,
        online,
        removable: true,
        zones: zones.collect::<Vec<String>>(),
    })
}

fn write<P: Platform>(phys: &Phys<P>, name: Name, text: &[u8], again: Again<'_>) -> Result<(), Errno> {
    match name {
        Name::AutoOnlineBlocks => {
            let policy = OnlineType::parse(text).ok_or(Errno::INVAL)?;
            phys.set_auto_online(online_to(policy));
            Ok(())
        }
        Name::OfBlock(index, "state") => {
            let to = OnlineType::parse(text).ok_or(Errno::INVAL)?;
            change(phys, Pfn::new(index * SECTION), to, again)
        }
        Name::OfBlock(index, "online") => {
            let to = match boolean(text).ok_or(Errno::INVAL)? {
                true => OnlineType::Online,
                false => OnlineType::Offline,
            };
            let first = Pfn::new(index * SECTION);
            let now = phys.section_state(first) == SectionState::Online;
            let wanted = to == OnlineType::Online;
            if now == wanted {
                Ok(())
            } else {
                change(phys, first, to, again)
            }
        }
        Name::BlockSizeBytes | Name::Probe | Name::OfBlock(..) => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foliant_phys::{BootOptions, MemoryMap};
    use foliant_platform::testing::TestPlatform;
    use foliant_units::{PhysAddr, PhysRange};

    const MIB: u64 = 1 << 20;

    fn machine() -> Phys<TestPlatform> {
        let ram = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(400 * MIB));
        let options = BootOptions {
            hotplug_below: 640 * MIB,
            ..BootOptions::test()
        };
        Phys::boot(TestPlatform::new(640 << 20, 1), &MemoryMap::ram(ram), options).unwrap()
    }

    fn shown(phys: &Phys<TestPlatform>, path: &str) -> Option<String> {
        let bytes = text(phys, name_of(phys, path)?)?;
        Some(String::from_utf8(bytes).unwrap())
    }

    fn told(phys: &Phys<TestPlatform>, path: &str, what: &str) -> Result<(), Errno> {
        let never = |_| Err(Errno::BUSY);
        write(phys, name_of(phys, path).unwrap(), what.as_bytes(), &never)
    }

    #[test]
    fn blocks_show_their_state_and_the_zones_they_may_go_to() {
        let phys = machine();
        let get = |path| shown(&phys, path).unwrap();
        assert_eq!(get("block_size_bytes"), "8000000\n");
        assert_eq!(get("memory0/valid_zones"), "none\n", "DMA and DMA32");
        assert_eq!(get("memory1/valid_zones"), "DMA32\n");
        assert_eq!(
            (get("memory1/state"), get("memory1/online")),
            ("online\n".into(), "1\n".into())
        );
        assert_eq!(get("memory2/phys_index"), "00000002\n");
        assert_eq!(get("memory2/removable"), "1\n");
        for none in [
            "memory4/state",
            "memory01/state",
            "memory/state",
            "memory1/nothing",
            "memory1",
        ] {
            assert_eq!(shown(&phys, none), None, "{none}");
        }
    }

    #[test]
    fn writing_to_state_takes_a_block_out_of_use_and_back() {
        let phys = machine();
        let total = || phys.stats().total;
        let before = total();
        assert_eq!(told(&phys, "memory1/state", "offline\n"), Ok(()));
        assert_eq!(before - total(), SECTION);
        assert_eq!(shown(&phys, "memory1/state").unwrap(), "offline\n");
        assert_eq!(shown(&phys, "memory1/valid_zones").unwrap(), "DMA32 Movable\n");
        assert_eq!(told(&phys, "memory1/state", "offline"), Err(Errno::INVAL));
        assert_eq!(told(&phys, "memory1/state", "online_movable"), Ok(()));
        assert_eq!(shown(&phys, "memory1/valid_zones").unwrap(), "Movable\n");
        // As a live Linux answers.
        assert_eq!(told(&phys, "memory1/state", "online"), Err(Errno::INVAL));
        assert_eq!(told(&phys, "memory1/state", "onlin"), Err(Errno::INVAL));
        assert_eq!(
            told(&phys, "memory1/online", "1"),
            Ok(()),
            "no change is no error here"
        );
        assert_eq!(told(&phys, "memory1/online", "0"), Ok(()));
        assert_eq!(told(&phys, "memory1/online", "on"), Ok(()));
        assert_eq!(boolean(b"Off\n"), Some(false));
        assert_eq!(
            (boolean(b"true"), boolean(b"o"), boolean(b"\n")),
            (Some(true), None, None)
        );
        assert_eq!(told(&phys, "memory0/state", "offline"), Err(Errno::INVAL));
        assert_eq!(
            told(&phys, "memory3/state", "offline"),
            Err(Errno::INVAL),
            "it has holes"
        );
        assert_eq!(told(&phys, "memory1/phys_index", "1"), Err(Errno::IO));
    }

    #[test]
    fn the_policy_for_new_blocks_is_one_of_four_words() {
        let phys = machine();
        for word in ["online\n", "online_kernel\n", "online_movable\n", "offline\n"] {
            assert_eq!(told(&phys, "auto_online_blocks", word), Ok(()));
            assert_eq!(shown(&phys, "auto_online_blocks").unwrap(), word);
        }
        assert_eq!(told(&phys, "auto_online_blocks", "bogus"), Err(Errno::INVAL));
    }
}
