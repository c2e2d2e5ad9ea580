package comparison

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// Names in the folder of a comparison: each result has a folder in cellsFolder, with resultFile and
// the images in chunks.
const (
	cellsFolder = "cells"
	resultFile  = "cell.json"
	chunkImages = 100 // of a file
)

// result is what is kept of a run: its images, and what they took.
type result struct {
	Of     string              `json:"of"` // key of everything that the images depend on
	Run    run                 `json:"run"`
	Stats  tokencache.Stats    `json:"stats"`            // of the images generated last
	Timing *measure.Comparison `json:"timing,omitempty"` // nil of the uncached model
	Steps  []measure.StepCost  `json:"step_costs,omitempty"`
	Step   measure.StepCost    `json:"uncached_step,omitzero"`

	Solution *measure.Solution `json:"solution,omitempty"` // of the converged solution alone

	dir string
}

// ConflictError reports a folder that holds the results of a comparison with other settings, or of
// another policy of the same name.
type ConflictError struct{ Dir string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s holds another comparison: delete it or use another folder", e.Dir)
}

// peek reads what is kept of a run, without checking that it is of the same settings.
func (r *runner) peek(s run) (*result, error) {
	d := &result{dir: filepath.Join(r.Dir, cellsFolder, FileName(s.folder()))}
	b, err := regularfile.Read(filepath.Join(d.dir, resultFile), regularfile.MaxText)
	if err != nil {
		return nil, err
	}
	return d, json.Unmarshal(b, d)
}

// folder is the name of a run's folder, before it is made a file name.
func (s run) folder() string {
	name := report.Uncached
	if s.Method != report.Uncached {
		name = s.Method + " " + s.Policy
	}
	if s.DType != "" {
		name += " " + s.DType
	}
	return name
}

// open opens the result of a run, which may be new. It fails with a *ConflictError if the folder
// has a result of other settings.
func (r *runner) open(s run, policy reuse.Policy, sampling diffusion.Sampling) (*result, error) {
	content := s.Policy + r.Pipeline.SolverDigest(sampling)
	if t, ok := policy.(*reuse.Trained); ok {
		content = t.Digest()
	}
	return r.openFolder(s.folder(), content, s)
}

// openFolder opens the result of a name with a content that identifies what its policy does.
func (r *runner) openFolder(name, content string, s run) (*result, error) {
	p, err := r.pipeline(s)
	if err != nil {
		return nil, err
	}
	d := &result{
		Of:  digest.Of(r.key(p), content),
		Run: s,
		dir: filepath.Join(r.Dir, cellsFolder, FileName(name)),
	}
	path := filepath.Join(d.dir, resultFile)
	b, err := regularfile.Read(path, regularfile.MaxText)
	if errors.Is(err, os.ErrNotExist) {
		return d, os.MkdirAll(d.dir, 0o777)
	}
	if err != nil {
		return nil, err
	}
	kept := *d
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("%s: %w; delete the folder to measure it again", path, err)
	}
	if kept.Of != d.Of {
		return nil, &ConflictError{d.dir}
	}
	kept.Run = s
	return &kept, nil
}

// maxFileName is the length beyond which a file name ends in a hash: systems take 255 bytes.
const maxFileName = 200

// FileName makes a file name of a text.
func FileName(text string) string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-.=,", c) {
			return c
		}
		return '_'
	}, text)
	if len(name) > maxFileName {
		name = name[:maxFileName] + "-" + digest.Of(text)
	}
	return name
}

// keep keeps the images of a measurement of time, if the result has none yet.
func (d *result) keep(images []tokencache.Image) error {
	if have, err := d.count(); err != nil || have > 0 {
		return errors.Join(err, d.save())
	}
	if err := d.save(); err != nil { // first, so that images are never there without what they are of
		return err
	}
	return d.write(0, images)
}

func (d *result) save() error { return writeJSON(filepath.Join(d.dir, resultFile), d) }

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func (d *result) chunk(from int) string { return filepath.Join(d.dir, fmt.Sprintf("%06d.npz", from)) }

// count returns the number of images that are there.
func (d *result) count() (int, error) {
	have := 0
	for {
		images, err := d.read(have)
		if os.IsNotExist(err) {
			return have, nil
		}
		if err != nil {
			return 0, err
		}
		have += len(images)
		if len(images) == 0 {
			return have, nil
		}
	}
}

// aboutImages is what a file of images says of them.
type aboutImages struct {
	Of    string `json:"of"` // of the result
	First int    `json:"first"`
}

// checkAbout reports a file of images that says that they are others than those of the result from
// the given one on. Files of early versions say nothing, and a result of which only the folder is
// known does not tell.
func (d *result) checkAbout(a *npz.Archive, from int) error {
	b, err := a.About()
	if errors.Is(err, npz.ErrNoAbout) {
		return nil
	}
	var about aboutImages
	if err == nil {
		err = json.Unmarshal(b, &about)
	}
	if err == nil && d.Of != "" && about != (aboutImages{d.Of, from}) {
		err = errors.New("images of another run: delete the file to generate them again")
	}
	return err
}

// write writes images, the first of which is image from, to a file.
func (d *result) write(from int, images []tokencache.Image) error {
	s := npz.Samples{
		Count:    len(images),
		Height:   images[0].Height,
		Width:    images[0].Width,
		Channels: images[0].Channels,
		Image:    func(i int) ([]byte, error) { return images[i].Pixels, nil },
	}
	if d.Of != "" { // else they are on their way to the process that keeps them
		var err error
		if s.About, err = json.Marshal(aboutImages{d.Of, from}); err != nil {
			return err
		}
	}
	for _, m := range images {
		s.Labels = append(s.Labels, int64(m.Class))
	}
	return s.Write(d.chunk(from))
}

// read reads the file that begins with image from.
func (d *result) read(from int) ([]tokencache.Image, error) {
	path := d.chunk(from)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	a, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if err := d.checkAbout(a, from); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pixels, err := a.Array("arr_0")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	classes, err := a.Array("arr_1")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	labels, err := npz.Read[int64](classes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(pixels.Shape) != 4 || pixels.Shape[0] != len(labels) {
		return nil, fmt.Errorf("%s: images of shape %v with %d classes", path, pixels.Shape, len(labels))
	}
	all, err := npz.Read[uint8](pixels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	images := make([]tokencache.Image, len(labels))
	size := pixels.RowLen()
	for i := range images {
		images[i] = tokencache.Image{
			Index:    from + i,
			Class:    int(labels[i]),
			Height:   pixels.Shape[1],
			Width:    pixels.Shape[2],
			Channels: pixels.Shape[3],
			Pixels:   all[i*size:][:size],
		}
	}
	return images, nil
}

// first reads the first count images.
func (d *result) first(count int) ([]tokencache.Image, error) {
	var list []tokencache.Image
	for len(list) < count {
		images, err := d.read(len(list))
		if err != nil {
			return nil, err
		}
		list = append(list, images...)
	}
	return list[:count], nil
}
