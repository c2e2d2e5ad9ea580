package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/shard"
)

// npzFile gathers images in a partial file next to the npz file, which it makes of them when all
// are there. An interrupted run leaves the partial file and a description of the run.
type npzFile struct {
	path     string
	run      Run
	partial  *partial
	had      []bool // images that were there when it was opened
	have     []bool // and now
	complete bool   // the npz file itself was there
	remarks  []string
}

// npzState is path.partial.json.
type npzState struct {
	Classes []int         `json:"classes"`
	Texts   []raster.Text `json:"settings"`
}

func (f *npzFile) partialPath() string { return f.path + ".partial" }
func (f *npzFile) statePath() string   { return f.path + ".partial.json" }

// fileAndState reports whether a name is that of the file at path, or of its state.
func fileAndState(path string) func(name string) bool {
	base := filepath.Base(path)
	return func(name string) bool { return name == base || name == base+".partial.json" }
}

func openNPZ(path string, run Run, mode Mode) (Sink, error) {
	f := &npzFile{path: path, run: run, had: make([]bool, len(run.Classes))}
	if mode.Overwrite {
		if err := f.removePartial(); err != nil {
			return nil, fmt.Errorf("output %s: %w", path, err)
		}
	}
	begun, described, err := f.begun()
	if err != nil {
		return nil, err
	}
	if !begun && mode.Resume {
		if f.complete, err = f.finished(); f.complete || err != nil {
			f.have = f.had
			for i := range f.had {
				f.had[i] = true
			}
			return f, err
		}
	}
	if !mode.Overwrite {
		if err := f.replaces(); err != nil {
			return nil, err
		}
	}
	if err := f.openPartial(mode, described); err != nil {
		return nil, err
	}
	f.have = slices.Clone(f.had)
	return f, nil
}

// replaces reports what may not be replaced: a link, and a file that no run wrote. An archive of
// another run is replaced when this one is whole, and a remark says so.
func (f *npzFile) replaces() error {
	if err := checkRegular(f.path); err != nil {
		return err
	}
	got, ok, err := f.there()
	if err != nil || !ok {
		return err
	}
	if err := f.other(got); err != nil {
		f.remarks = append(f.remarks, fmt.Sprintf("%v: it is replaced when this run is whole", err))
	}
	return nil
}

// begun reports whether a run was interrupted here, and whether a description says that it is this
// one; another one is an *ExistsError. Without a description that can be read the checksums decide.
func (f *npzFile) begun() (begun, described bool, err error) {
	for _, path := range []string{f.partialPath(), f.statePath()} {
		if err := checkRegular(path); err != nil {
			return false, false, err
		}
	}
	var old npzState
	b, err := regularfile.Read(f.statePath(), regularfile.MaxText)
	if err == nil && json.Unmarshal(b, &old) == nil {
		if d, differs := f.run.differs(old.Texts); differs {
			return true, true, ofAnother(f.partialPath(), d)
		}
		if !slices.Equal(old.Classes, f.run.Classes) {
			return true, true, &ExistsError{Path: f.partialPath(),
				What: fmt.Sprintf("is of this run with other images, %d in all", len(old.Classes))}
		}
		return true, true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, false, err
	}
	_, err = os.Lstat(f.partialPath())
	return err == nil, false, nil
}

// finished reports whether the npz file is there and of this run, which needs no more.
func (f *npzFile) finished() (bool, error) {
	got, ok, err := f.there()
	if err != nil || !ok {
		return false, err
	}
	err = f.other(got)
	return err == nil, err
}

// there returns what the npz file says of its run, if it is there.
func (f *npzFile) there() (got shard.Run, ok bool, err error) {
	got, err = readAbout(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return got, false, nil
	case err != nil:
		return got, false, &ExistsError{Path: f.path, What: fmt.Sprintf("does not say of which run it is (%v)", err)}
	}
	return got, true, nil
}

// other is the *ExistsError of an npz file that says of itself what this run's does not.
func (f *npzFile) other(got shard.Run) error {
	if got.Same(f.run.about()) {
		return nil
	}
	if d, differs := f.run.differs(textsOf(got)); differs {
		return ofAnother(f.path, d)
	}
	return &ExistsError{Path: f.path, What: "is of this run with other images or without labels"}
}

// openPartial opens the partial file and finds the images in it.
func (f *npzFile) openPartial(mode Mode, described bool) (err error) {
	if f.partial, err = openPartial(f.partialPath(), f.run); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.partial.close())
		}
	}()
	var torn int
	if f.had, torn, err = f.partial.scan(); err != nil {
		return err
	}
	have := 0
	for _, there := range f.had {
		if there {
			have++
		}
	}
	switch {
	case have > 0 && !mode.Resume:
		return unfinished(f.partialPath(), have, len(f.had))
	case have == 0 && torn > 0 && !described:
		return &ExistsError{Path: f.partialPath(), What: "is damaged or of another run"}
	case torn > 0 && mode.Resume:
		f.remarks = append(f.remarks, fmt.Sprintf("%s: damaged images, which are made again: %d", f.partialPath(), torn))
	}
	if have == 0 {
		if err := f.partial.file.Truncate(0); err != nil {
			return err
		}
	}
	size, images := int64(f.run.imageBytes()), int64(len(f.had))
	need := (images-int64(have))*f.run.recordBytes() + images*(size+8) + 1<<16
	if err := atomicfile.CheckSpace(filepath.Dir(f.path), need); err != nil {
		if have == 0 {
			err = errors.Join(err, f.partial.close(), f.removePartial())
		}
		return fmt.Errorf("output %s: %w", f.path, err)
	}
	return atomicfile.Write(f.statePath(), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(npzState{Classes: f.run.Classes, Texts: f.run.ofRun()})
	})
}

func (f *npzFile) removePartial() error {
	for _, path := range []string{f.partialPath(), f.statePath()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f *npzFile) Have(i int) bool   { return f.had[i] }
func (f *npzFile) Complete() bool    { return f.complete }
func (f *npzFile) Remarks() []string { return f.remarks }

func (f *npzFile) Add(i int, m *raster.Image, _ ...raster.Text) error {
	if i < 0 || i >= len(f.have) || f.have[i] || len(m.Pix) != f.run.imageBytes() {
		return fmt.Errorf("output %s: image %d of %d bytes, want one that is not there, of %d",
			f.path, i, len(m.Pix), f.run.imageBytes())
	}
	if err := f.partial.write(i, m); err != nil {
		return err
	}
	f.have[i] = true
	return nil
}

func (f *npzFile) Finish() ([]string, error) {
	if f.complete {
		return []string{f.path}, nil
	}
	if i := slices.Index(f.have, false); i >= 0 {
		return nil, fmt.Errorf("output %s: image %d was never finished", f.path, i)
	}
	about, err := f.run.about().About()
	if err != nil {
		return nil, err
	}
	samples := npz.Samples{
		Count:    len(f.have),
		Height:   f.run.Height,
		Width:    f.run.Width,
		Channels: f.run.Channels,
		About:    about,
		Image:    f.image(),
	}
	if f.run.Labels {
		for _, class := range f.run.Classes {
			samples.Labels = append(samples.Labels, int64(class))
		}
	}
	if f.run.Prompts {
		for _, class := range f.run.Classes {
			samples.Prompts = append(samples.Prompts, f.run.Names[class])
		}
	}
	if err := samples.Write(f.path); err != nil {
		return nil, err
	}
	return []string{f.path}, errors.Join(f.partial.file.Close(), f.removePartial())
}

// image returns a function that returns the pixels of image i, until its next call.
func (f *npzFile) image() func(i int) ([]byte, error) {
	buf := make([]byte, f.run.recordBytes())
	return func(i int) ([]byte, error) {
		pixels, _, err := f.partial.read(i, buf)
		if err == nil && pixels == nil {
			err = fmt.Errorf("damaged in %s since it was written", f.partialPath())
		}
		return pixels, err
	}
}

// Close closes the partial file. One without an image is removed.
func (f *npzFile) Close() error {
	if f.partial == nil {
		return nil
	}
	err := f.partial.close()
	if !slices.Contains(f.have, true) {
		err = errors.Join(err, f.removePartial())
	}
	return err
}
