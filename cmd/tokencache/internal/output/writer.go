package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/shard"
)

// Options say where the images of a request go.
type Options struct {
	Path string // as Open takes it; "" is a new folder in DefaultParent
	Mode
	Labels  bool      // an npz file also gets the classes, as arr_1
	Latents string    // file for the final latents, or ""
	Noise   string    // what the request's noise is called, or ""
	Stdout  io.Writer // see Open
	// Part, if not nil, is what is written instead of the whole run, as a part in the folder Path.
	Part *PartOptions
}

// DefaultParent is the folder in which an output without a name becomes a new folder.
const DefaultParent = "out"

// ErrLatentsGone reports that latents are wanted of images that an interrupted run finished.
var ErrLatentsGone = errors.New("the latents of images that are there already are gone")

// maxLatents bounds the latents of a run, in bytes: they are kept in memory until all are there.
const maxLatents = 4 << 30

// Writer writes the images of a request, and their latents if they are wanted.
type Writer struct {
	Path     string   // of the output
	Images   int      // to be written, of this run or part
	Resumed  int      // those of them that were there already
	Complete bool     // nothing is left to do
	Remarks  []string // what the user should know

	sink        Sink
	latents     *Latents // nil if they are not wanted
	latentsPath string
	made        string // folder that was made without being named, or ""
}

// NewWriter returns the writer of a request's images. What would keep it from writing is reported
// now, before the work.
func NewWriter(p *tokencache.Pipeline, req tokencache.Request, o Options) (w *Writer, err error) {
	w = &Writer{Path: o.Path, latentsPath: o.Latents}
	if kind, err := kindOf(o.Path); err == nil && kind != kindNPZ && o.Labels && o.Part == nil {
		return nil, errors.New("labels are written to an .npz file alone, want that as the output")
	}
	if o.Latents != "" {
		if w.latents, err = newLatentsFor(p, req, o); err != nil {
			return nil, err
		}
	}
	if w.Path == "" {
		if w.Path, err = NewFolder(DefaultParent); err != nil {
			return nil, err
		}
		w.made = w.Path
	}
	run := requested(p, req, o)
	if o.Part != nil {
		o.Findings = req.MinPSNR != 0
		w.sink, err = openPart(w.Path, run, o.Mode, *o.Part)
	} else {
		w.sink, err = Open(w.Path, run, o.Mode, o.Stdout)
	}
	if err != nil {
		_ = os.Remove(w.made)
		return nil, err
	}
	w.Complete, w.Remarks = w.sink.Complete(), w.sink.Remarks()
	span := shard.Span{First: 0, End: req.Images()}
	if o.Part != nil {
		span = o.Part.Span
	}
	w.Images = span.Len()
	for i := span.First; i < span.End; i++ {
		if w.sink.Have(i) {
			w.Resumed++
		}
	}
	if w.latents != nil && w.Resumed > 0 {
		return nil, errors.Join(ErrLatentsGone, w.Close())
	}
	return w, nil
}

// requested is the run of a request.
func requested(p *tokencache.Pipeline, req tokencache.Request, o Options) Run {
	run := Run{
		Identity: pngtext.Identity(p, req),
		Texts:    pngtext.Of(p, req, o.Noise).Texts(),
		Labels:   o.Labels,
	}
	run.ofConditions(p, req)
	run.Height, run.Width, run.Channels = p.ImageSize()
	return run
}

// About returns what parts and archives say of a request's run.
func About(p *tokencache.Pipeline, req tokencache.Request, o Options) shard.Run {
	return requested(p, req, o).about()
}

// newLatentsFor returns the latents of a request's images, whose file can be written.
func newLatentsFor(p *tokencache.Pipeline, req tokencache.Request, o Options) (*Latents, error) {
	if samePath(o.Path, o.Latents) || holds(o.Path, o.Latents) {
		return nil, fmt.Errorf("images and latents cannot both be written to %s", o.Latents)
	}
	if err := atomicfile.Prepare(o.Latents); err != nil {
		return nil, fmt.Errorf("latents: %w", err)
	}
	shape := p.Shape()
	bytes := 4 * int64(req.Images()) * int64(shape.Latents())
	if bytes > maxLatents {
		return nil, fmt.Errorf("latents %s: those of %d images are %.1f GB, want at most %.1f: generate fewer at a time",
			o.Latents, req.Images(), float64(bytes)/1e9, float64(maxLatents)/1e9)
	}
	if err := atomicfile.CheckSpace(filepath.Dir(o.Latents), bytes); err != nil {
		return nil, fmt.Errorf("latents %s: %w", o.Latents, err)
	}
	return NewLatents(req.Images(), shape.Channels, shape.LatentRows), nil
}

// Resumable reports whether what is finished stays when the run is interrupted.
func (w *Writer) Resumable() bool {
	k, err := kindOf(w.Path)
	return err == nil && (k == kindFolder || k == kindNPZ)
}

// Stopped says what an interrupted run leaves, and how to go on: the run made some of its images,
// with a seed, in a folder that was made for it unless one was named.
func (w *Writer) Stopped(made int, seed uint64, unnamed bool) string {
	finished, all := made+w.Resumed, w.Images
	if !w.Resumable() {
		return fmt.Sprintf("stopped with %d of %d images finished; a single sheet keeps none of them", finished, all)
	}
	out := ""
	if unnamed {
		out = " --out " + w.Path
	}
	return fmt.Sprintf("stopped with %d of %d images finished; the same command with%s --seed %d --resume completes them",
		finished, all, out, seed)
}

// Have reports whether image i was there already: it is a request's Skip.
func (w *Writer) Have(i int) bool { return w.sink.Have(i) }

// Add takes a finished image: it is a request's OnImage.
func (w *Writer) Add(img tokencache.Image) error {
	if w.latents != nil {
		if err := w.latents.Add(img.Index, img.Latents); err != nil {
			return err
		}
	}
	return w.sink.Add(img.Index, rasterOf(img), pngtext.Evidence(img)...)
}

// Finish is called once, after the last image. It returns the paths to show the user.
func (w *Writer) Finish() ([]string, error) {
	files, err := w.sink.Finish()
	if err != nil || w.latents == nil {
		return files, err
	}
	return append(files, w.latentsPath), w.latents.Write(w.latentsPath)
}

// Close frees what Finish or an error left open, and lets other processes write to the output.
func (w *Writer) Close() error {
	err := w.sink.Close()
	if w.made != "" {
		_ = os.Remove(w.made) // unless there is something in it
	}
	return err
}

// rasterOf returns an image as the packages that write it take it.
func rasterOf(img tokencache.Image) *raster.Image {
	return &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}
}
