package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

// npzFile gathers images in a file next to the one asked for, in the order of their indices, and
// makes the npz file of it when all are there. An interrupted run leaves that file and a
// description of the run.
type npzFile struct {
	path    string
	run     Run
	pixels  *os.File       // path.partial: raw pixels of images 0, 1, ...
	resumed int            // whole images in it when it was opened
	have    int            // and now
	early   map[int][]byte // images that were finished before others that come first
	state   npzState
}

// npzState is path.partial.json.
type npzState struct {
	Height   int           `json:"height"` // 0 until the first image
	Width    int           `json:"width"`
	Channels int           `json:"channels"`
	Classes  []int         `json:"classes"`
	Texts    []raster.Text `json:"settings"`
}

func openNPZ(path string, run Run, resume bool) (Sink, error) {
	f := &npzFile{path: path, run: run, state: npzState{Classes: run.Classes, Texts: run.ofRun()}}
	flags := os.O_RDWR | os.O_CREATE
	if !resume {
		flags |= os.O_TRUNC
	}
	var err error
	if f.pixels, err = os.OpenFile(f.partial(), flags, 0o644); err != nil {
		return nil, fmt.Errorf("output %s: %w", path, err)
	}
	if resume {
		if err := f.takeOver(); err != nil {
			f.pixels.Close()
			return nil, err
		}
		f.resumed = f.have
	}
	if f.have == 0 {
		if err := f.writeState(); err != nil {
			f.pixels.Close()
			return nil, err
		}
	}
	return f, nil
}

func (f *npzFile) partial() string   { return f.path + ".partial" }
func (f *npzFile) statePath() string { return f.path + ".partial.json" }

func (f *npzFile) writeState() error {
	return atomicfile.Write(f.statePath(), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(f.state)
	})
}

// takeOver counts the whole images that an interrupted run left and drops the rest of one that is
// not whole.
func (f *npzFile) takeOver() error {
	b, err := os.ReadFile(f.statePath())
	if errors.Is(err, os.ErrNotExist) {
		return f.pixels.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	var old npzState
	if err := json.Unmarshal(b, &old); err != nil {
		return fmt.Errorf("resume: %s: %w", f.statePath(), err)
	}
	if !reflect.DeepEqual(old.Classes, f.state.Classes) {
		return fmt.Errorf("resume: %s is of a run of %d other images; remove it to start again",
			f.partial(), len(old.Classes))
	}
	if d, differs := f.run.differs(old.Texts); differs {
		return fmt.Errorf("resume: %s is of another run, with another %s; remove it to start again", f.partial(), d.key)
	}
	f.state = old
	info, err := f.pixels.Stat()
	if err != nil {
		return err
	}
	if size := f.imageSize(); size > 0 {
		f.have = int(info.Size() / int64(size))
	}
	if f.have > len(f.run.Classes) {
		return fmt.Errorf("resume: %s holds %d images, more than the %d asked for", f.partial(), f.have, len(f.run.Classes))
	}
	return f.pixels.Truncate(int64(f.have) * int64(f.imageSize()))
}

func (f *npzFile) imageSize() int { return f.state.Height * f.state.Width * f.state.Channels }

func (f *npzFile) Have(i int) bool { return i < f.resumed }

func (f *npzFile) Add(i int, m *raster.Image, _ ...raster.Text) error {
	if f.state.Height == 0 {
		f.state.Height, f.state.Width, f.state.Channels = m.Height, m.Width, m.Channels
		if err := f.writeState(); err != nil {
			return err
		}
	}
	if i < f.have || len(m.Pix) != f.imageSize() {
		return fmt.Errorf("output %s: image %d of %d bytes, want image %d or a later one, of %d",
			f.path, i, len(m.Pix), f.have, f.imageSize())
	}
	if f.early == nil {
		f.early = map[int][]byte{}
	}
	f.early[i] = m.Pix
	for {
		pixels, ok := f.early[f.have]
		if !ok {
			return nil
		}
		if _, err := f.pixels.WriteAt(pixels, int64(f.have)*int64(f.imageSize())); err != nil {
			return err
		}
		delete(f.early, f.have)
		f.have++
	}
}

func (f *npzFile) Finish() ([]string, error) {
	if len(f.early) > 0 {
		return nil, fmt.Errorf("output %s: image %d was never finished", f.path, f.have)
	}
	buf := make([]byte, f.imageSize())
	samples := npz.Samples{
		Count: f.have, Height: f.state.Height, Width: f.state.Width, Channels: f.state.Channels,
		Image: func(i int) ([]byte, error) {
			_, err := f.pixels.ReadAt(buf, int64(i)*int64(len(buf)))
			return buf, err
		},
	}
	if f.run.Labels {
		for _, class := range f.run.Classes[:f.have] {
			samples.Labels = append(samples.Labels, int64(class))
		}
	}
	if err := samples.Write(f.path); err != nil {
		return nil, err
	}
	f.pixels.Close()
	return []string{f.path}, errors.Join(os.Remove(f.partial()), os.Remove(f.statePath()))
}

func (f *npzFile) Close() error {
	if err := f.pixels.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
