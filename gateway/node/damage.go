package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DamagedFolder is the folder in the data folder that keeps a copy of each
// log that could be read only in part. What lies in it is a loss to report;
// who has looked into it removes the files.
const DamagedFolder = "damaged"

// The store's log is made of blocks with chunks: checksum 4, length 2, type 1,
// log number 4, and in the newest types the synced offset 8.
const (
	logBlock       = 32 << 10
	chunkHeader    = 11
	chunkSyncExtra = 8
	firstRecycled  = 5 // types below carry no log number and are not written any more
	firstSynced    = 9
	lastType       = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkAt gives the length of the valid chunk of log number num at the start
// of b, 0 if there is none.
func chunkAt(b []byte, num uint32) int {
	if len(b) < chunkHeader || b[6] < firstRecycled || b[6] > lastType || binary.LittleEndian.Uint32(b[7:]) != num {
		return 0
	}
	header := chunkHeader
	if b[6] >= firstSynced {
		header += chunkSyncExtra
	}
	n := header + int(binary.LittleEndian.Uint16(b[4:]))
	if n > len(b) {
		return 0
	}
	c := crc32.Checksum(b[6:n], castagnoli)
	if (c>>15|c<<17)+0xa282ead8 != binary.LittleEndian.Uint32(b) {
		return 0
	}
	return n
}

// unreadable finds damage in a log: chunks that are sound but lie behind one
// that is not. A crash leaves none such, for a log is written front to back;
// after its torn end there is nothing, zeros, or what an older log left. It
// returns how many octets are cut off with the damage, 0 if there is none.
func unreadable(log []byte, num uint32) int {
	at := 0
	for at < len(log) {
		end := min(len(log), at-at%logBlock+logBlock)
		if end-at < chunkHeader-4 { // too little for any header: the rest of a block is empty
			at = end
			continue
		}
		n := chunkAt(log[at:end], num)
		if n == 0 {
			break
		}
		at += n
	}
	for i := at; i < len(log); i++ {
		end := min(len(log), i-i%logBlock+logBlock)
		if n := chunkAt(log[i:end], num); n > 0 && i > at {
			if i%logBlock == 0 && blank(log[at:i]) {
				return unreadable(log[i:], num) // behind the empty end of a block
			}
			return len(log) - at
		}
	}
	return 0
}

// blank tells whether b is the empty end of a block, too short for a chunk.
func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return len(b) < chunkHeader+chunkSyncExtra
}

// keepDamaged copies logs with damage aside before the store cuts them off.
func keepDamaged(fs vfs.FS, dir string) error {
	state := fs.PathJoin(dir, "state")
	names, err := fs.List(state)
	if err != nil {
		return err
	}
	for _, name := range names {
		base, ok := strings.CutSuffix(name, ".log")
		num, err := strconv.ParseUint(base, 10, 32)
		if !ok || err != nil {
			continue
		}
		log, err := readAll(fs, fs.PathJoin(state, name))
		if err != nil {
			return fmt.Errorf("look for damage in %s: %w", name, err)
		}
		lost := unreadable(log, uint32(num))
		if lost == 0 {
			continue
		}
		aside := fs.PathJoin(dir, DamagedFolder)
		if err := fs.MkdirAll(aside, 0o700); err != nil {
			return err
		}
		to := fs.PathJoin(aside, fmt.Sprintf("%s-%d-octets.log", base, lost))
		if err := vfs.Copy(fs, fs.PathJoin(state, name), to); err != nil {
			return fmt.Errorf("keep damaged %s: %w", name, err)
		}
	}
	return nil
}

func readAll(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}
