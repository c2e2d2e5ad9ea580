package output

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/raster"
)

// partial is the file in which the images of an npz file gather until all are there. It has a
// record for each image, at the place of its index: the pixels, and a checksum of run, index and
// pixels. What a crash of the system left half written, or as zeros, is so noticed.
type partial struct {
	file   *os.File
	run    Run
	synced time.Time
}

const (
	sumBytes = 16
	// syncEvery is how long finished images may be without being on the disk.
	syncEvery = time.Second
)

func openPartial(path string, run Run) (*partial, error) {
	f, err := atomicfile.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	return &partial{file: f, run: run, synced: time.Now()}, nil
}

// recordBytes is the size of an image's record.
func (r Run) recordBytes() int64 { return int64(r.imageBytes()) + sumBytes }

// sum is the checksum of image i.
func (p *partial) sum(i int, pixels []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", p.run.Identity)
	var numbers [16]byte
	binary.LittleEndian.PutUint64(numbers[:], uint64(i))
	binary.LittleEndian.PutUint64(numbers[8:], uint64(p.run.Classes[i]))
	h.Write(numbers[:])
	h.Write(pixels)
	return h.Sum(nil)[:sumBytes]
}

// write writes the record of image i.
func (p *partial) write(i int, m *raster.Image) error {
	record := append(bytes.Clone(m.Pix), p.sum(i, m.Pix)...)
	if _, err := p.file.WriteAt(record, int64(i)*p.run.recordBytes()); err != nil {
		return err
	}
	if time.Since(p.synced) < syncEvery {
		return nil
	}
	p.synced = time.Now()
	return p.file.Sync()
}

// read returns the pixels of image i, in buf. Where it is not whole, torn reports whether there is
// anything at all.
func (p *partial) read(i int, buf []byte) (pixels []byte, torn bool, err error) {
	n, err := p.file.ReadAt(buf, int64(i)*p.run.recordBytes())
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	clear(buf[n:])
	pixels, sum := buf[:p.run.imageBytes()], buf[p.run.imageBytes():]
	if bytes.Equal(sum, p.sum(i, pixels)) {
		return pixels, false, nil
	}
	for _, b := range buf {
		if b != 0 {
			return nil, true, nil
		}
	}
	return nil, false, nil
}

// scan returns which images are whole, and how many are torn.
func (p *partial) scan() (have []bool, torn int, err error) {
	have = make([]bool, len(p.run.Classes))
	info, err := p.file.Stat()
	if err != nil {
		return nil, 0, err
	}
	buf := make([]byte, p.run.recordBytes())
	for i := range have {
		if int64(i)*p.run.recordBytes() >= info.Size() {
			break
		}
		pixels, isTorn, err := p.read(i, buf)
		if err != nil {
			return nil, 0, err
		}
		if have[i] = pixels != nil; isTorn {
			torn++
		}
	}
	return have, torn, nil
}

func (p *partial) close() error {
	err := p.file.Sync()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return errors.Join(err, p.file.Close())
}
