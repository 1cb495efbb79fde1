// SPDX-License-Identifier: MIT
//! rust-vmm's vm-memory as bench-memory calls it: the same walks as memory_kit.h has, over the same
//! host memory. The loops are here, so that all of vm-memory can be inlined into them.

use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::atomic::Ordering;
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::mmap::{MmapRegionBuilder, NewBitmap};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

const PROT_READ_WRITE: i32 = 3;
const MAP_SHARED_NORESERVE: i32 = 0x4001;

#[repr(C)]
pub struct PeerRegion {
    gpa: u64,
    len: u64,
    hva: *mut u8,
}

#[repr(C)]
pub struct Walk {
    x: u64,
    mask: u64,
    stride: u64,
}

impl Walk {
    #[inline(always)]
    fn next(&mut self, value: u64) -> GuestAddress {
        self.x = self
            .x
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407)
            .wrapping_add(value);
        GuestAddress((self.x >> 30 & self.mask) * self.stride)
    }
}

fn make<B: Bitmap + NewBitmap>(regions: &[PeerRegion]) -> Option<GuestMemoryMmap<B>> {
    let mut all = Vec::new();
    for r in regions {
        let region = MmapRegionBuilder::new_with_bitmap(
            r.len as usize,
            B::with_len(r.len as usize),
        )
        .with_mmap_prot(PROT_READ_WRITE)
        .with_mmap_flags(MAP_SHARED_NORESERVE);
        // The memory outlives the peer: bench-memory unmaps it at its end.
        let region = unsafe { region.with_raw_mmap_pointer(r.hva) }.build().ok()?;
        all.push(GuestRegionMmap::new(region, GuestAddress(r.gpa)).ok()?);
    }
    GuestMemoryMmap::from_regions(all).ok()
}

pub struct Peer {
    plain: GuestMemoryMmap<()>,
    logged: Option<GuestMemoryMmap<AtomicBitmap>>,
}

/// NULL: it does not take these regions.
///
/// # Safety
/// regions has n elements, of memory that is mapped until peer_free.
#[no_mangle]
pub unsafe extern "C" fn peer_new(regions: *const PeerRegion, n: usize, log: bool) -> *mut Peer {
    let regions = from_raw_parts(regions, n);
    let plain = match make::<()>(regions) {
        Some(m) => m,
        None => return std::ptr::null_mut(),
    };
    let logged = if log { make::<AtomicBitmap>(regions) } else { None };
    Box::into_raw(Box::new(Peer { plain, logged }))
}

/// # Safety
/// peer is of peer_new, and not used again.
#[no_mangle]
pub unsafe extern "C" fn peer_free(peer: *mut Peer) {
    drop(Box::from_raw(peer));
}

fn load<const CHAIN: bool>(mem: &GuestMemoryMmap<()>, walk: &mut Walk, n: u64) -> u64 {
    let mut v = 0u64;
    for _ in 0..n {
        let at = walk.next(if CHAIN { v } else { 0 });
        v = mem.load::<u64>(at, Ordering::Relaxed).unwrap_or(1);
    }
    v
}

/// n loads of 8 bytes; chain: each address from the value before. Returns the last value.
///
/// # Safety
/// peer is of peer_new.
#[no_mangle]
pub unsafe extern "C" fn peer_load(peer: *const Peer, walk: *mut Walk, n: u64, chain: bool) -> u64 {
    match chain {
        true => load::<true>(&(*peer).plain, &mut *walk, n),
        false => load::<false>(&(*peer).plain, &mut *walk, n),
    }
}

fn store<B: Bitmap + 'static>(mem: &GuestMemoryMmap<B>, walk: &mut Walk, n: u64) -> u64 {
    let mut bad = 0;
    for _ in 0..n {
        bad |= mem.store::<u64>(0, walk.next(0), Ordering::Relaxed).is_err() as u64;
    }
    bad
}

/// n stores of 8 zero bytes; log: with the bitmap. Returns 0, or 1 if one failed.
///
/// # Safety
/// peer is of peer_new, with log if log.
#[no_mangle]
pub unsafe extern "C" fn peer_store(peer: *const Peer, walk: *mut Walk, n: u64, log: bool) -> u64 {
    match (&(*peer).logged, log) {
        (Some(mem), true) => store(mem, &mut *walk, n),
        (None, true) => 1,
        _ => store(&(*peer).plain, &mut *walk, n),
    }
}

/// # Safety
/// peer is of peer_new, buf has len bytes.
#[no_mangle]
pub unsafe extern "C" fn peer_read(peer: *const Peer, gpa: u64, buf: *mut u8, len: usize) -> bool {
    (*peer).plain.read_slice(from_raw_parts_mut(buf, len), GuestAddress(gpa)).is_ok()
}

/// # Safety
/// peer is of peer_new, buf has len bytes.
#[no_mangle]
pub unsafe extern "C" fn peer_write(peer: *const Peer, gpa: u64, buf: *const u8, len: usize) -> bool {
    (*peer).plain.write_slice(from_raw_parts(buf, len), GuestAddress(gpa)).is_ok()
}
