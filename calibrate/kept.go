package calibrate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/reuse"
)

// keptImage is an image of a run as it is kept on disk: what it looks like and what it took.
type keptImage struct {
	Pixels   []uint8
	FLOPs    int64 // of model and policy, rejected passes included
	Evidence reuse.Evidence
}

// keptHead is the fixed part of a record of a file of kept images; the pixels follow it.
type keptHead struct {
	Sum                uint32 // CRC-32 of all that follows
	Index              uint32
	FLOPs              int64
	Checks, Rejections int32
	Estimated          float64
}

// keptRun samples images of one seed and keeps them in a file, so that work that was interrupted
// resumes and no image is sampled twice. The file is named after the run's identity: other weights,
// another sampling, policy or CPU level has another one. Records are appended; a last one that is
// incomplete is written over.
type keptRun struct {
	pipeline  *tokencache.Pipeline
	subjects  *tokencache.Subjects
	request   tokencache.Request // of all images, which show the subjects in turn
	converged bool               // the solution that the sampler converges to, not the sampler itself
	dir       string             // "": nothing is kept
	onStep    func(tokencache.Progress)
}

// path is the run's file.
func (r *keptRun) path() string {
	name := r.pipeline.Identity(r.request)
	if of := r.subjects.Digest(); of != "" {
		name += "-" + of
	}
	if r.converged {
		name += "-converged"
	}
	return filepath.Join(r.dir, name+".images")
}

// missing returns how many images are not kept yet.
func (r *keptRun) missing() (int, error) {
	images, _, err := r.read()
	n := 0
	for _, m := range images {
		if m.Pixels == nil {
			n++
		}
	}
	return n, err
}

// read reads what is kept, and where the next record goes.
func (r *keptRun) read() (images []keptImage, end int64, err error) {
	images = make([]keptImage, r.request.Images())
	if r.dir == "" {
		return images, 0, nil
	}
	b, err := regularfile.Read(r.path(), math.MaxInt64)
	if errors.Is(err, os.ErrNotExist) {
		return images, 0, nil
	}
	height, width, channels := r.pipeline.ImageSize()
	size := binary.Size(keptHead{}) + height*width*channels
	for ; err == nil && len(b) >= size; b = b[size:] {
		var h keptHead
		rest := bytes.NewReader(b[:size])
		if err = binary.Read(rest, binary.LittleEndian, &h); err != nil {
			break
		}
		if crc32.ChecksumIEEE(b[binary.Size(h.Sum):size]) != h.Sum {
			break // cut off by a crash: this image and those after it are sampled again
		}
		end += int64(size)
		if int(h.Index) < len(images) {
			images[h.Index] = keptImage{
				Pixels:   bytes.Clone(b[size-rest.Len() : size]),
				FLOPs:    h.FLOPs,
				Evidence: reuse.Evidence{Checks: int(h.Checks), Rejections: int(h.Rejections), EstimatedPSNR: h.Estimated},
			}
		}
	}
	return images, end, err
}

// record returns an image as it is kept.
func record(index int, m keptImage) ([]byte, error) {
	var b bytes.Buffer
	err := binary.Write(&b, binary.LittleEndian, keptHead{
		Index:      uint32(index),
		FLOPs:      m.FLOPs,
		Checks:     int32(m.Evidence.Checks),
		Rejections: int32(m.Evidence.Rejections),
		Estimated:  m.Evidence.EstimatedPSNR,
	})
	b.Write(m.Pixels)
	sum := crc32.ChecksumIEEE(b.Bytes()[4:])
	binary.LittleEndian.PutUint32(b.Bytes(), sum)
	return b.Bytes(), err
}

// sample returns all images, those that were kept and those that it samples now.
func (r *keptRun) sample(ctx context.Context) (images []keptImage, err error) {
	images, end, err := r.read()
	if err != nil {
		return nil, err
	}
	var file *os.File
	if r.dir != "" {
		if err := os.MkdirAll(r.dir, 0o777); err != nil {
			return nil, err
		}
		if file, err = os.OpenFile(r.path(), os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if err := errors.Join(file.Truncate(end), second(file.Seek(end, io.SeekStart))); err != nil {
			return nil, err
		}
	}
	req := r.request
	have := make([]bool, len(images))
	left := 0
	for i, m := range images {
		if have[i] = m.Pixels != nil; !have[i] {
			left++
		}
	}
	if left == 0 {
		return images, nil
	}
	var mu sync.Mutex // of flops, which the engine's goroutines count
	flops := make([]int64, len(images))
	req.Skip = func(i int) bool { return have[i] }
	req.OnStep = func(s tokencache.Progress) {
		mu.Lock()
		flops[s.Index] += s.FLOPs
		mu.Unlock()
		if r.onStep != nil {
			r.onStep(s)
		}
	}
	req.OnImage = func(m tokencache.Image) error {
		mu.Lock()
		kept := keptImage{Pixels: m.Pixels, FLOPs: flops[m.Index]}
		mu.Unlock()
		if m.Evidence != nil {
			kept.Evidence = *m.Evidence
		}
		images[m.Index] = kept
		if file == nil {
			return nil
		}
		b, err := record(m.Index, kept)
		return errors.Join(err, second(file.Write(b)))
	}
	if r.converged {
		_, err = r.pipeline.Converged(ctx, req)
	} else {
		_, err = r.pipeline.Generate(ctx, req)
	}
	if err != nil {
		return nil, fmt.Errorf("sampling images: %w", err)
	}
	return images, nil
}

// second returns the error of a call that returns something else, too.
func second[T any](_ T, err error) error { return err }
