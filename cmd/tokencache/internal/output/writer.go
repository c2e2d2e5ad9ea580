package output

import (
	"errors"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/raster"
)

// Options say where the images of a request go.
type Options struct {
	Path    string // as Open takes it
	Labels  bool   // an npz file also gets the classes, as arr_1
	Resume  bool   // take up what an interrupted run of the same identity left
	Latents string // file for the final latents, or ""
	Noise   string // what the request's noise is called, or ""
}

// ErrLatentsGone reports that latents are wanted of images that an interrupted run finished.
var ErrLatentsGone = errors.New("the latents of images that are there already are gone")

// Writer writes the images of a request, and their latents if they are wanted.
type Writer struct {
	Resumed int // images that were there already

	sink        Sink
	latents     *Latents // nil if they are not wanted
	latentsPath string
}

// NewWriter returns the writer of a request's images.
func NewWriter(p *tokencache.Pipeline, req tokencache.Request, o Options) (*Writer, error) {
	run := Run{
		Classes:  req.Classes,
		Names:    p.ClassNames(),
		Identity: p.Identity(req),
		Texts:    provenance(p, req, o.Noise).Texts(),
		Labels:   o.Labels,
	}
	sink, err := Open(o.Path, run, o.Resume)
	if err != nil {
		return nil, err
	}
	w := &Writer{sink: sink, latentsPath: o.Latents}
	for i := range req.Classes {
		if sink.Have(i) {
			w.Resumed++
		}
	}
	if o.Latents != "" {
		if w.Resumed > 0 {
			return nil, errors.Join(ErrLatentsGone, sink.Close())
		}
		w.latents = NewLatents(len(req.Classes), p.Config().InChannels, p.Config().InputSize)
	}
	return w, nil
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
	return w.sink.Add(img.Index, rasterOf(img), evidence(img)...)
}

// Finish is called once, after the last image. It returns the paths to show the user.
func (w *Writer) Finish() ([]string, error) {
	files, err := w.sink.Finish()
	if err != nil || w.latents == nil {
		return files, err
	}
	return append(files, w.latentsPath), w.latents.Write(w.latentsPath)
}

// Close frees what Finish or an error left open.
func (w *Writer) Close() error { return w.sink.Close() }

// rasterOf returns an image as the packages that write it take it.
func rasterOf(img tokencache.Image) *raster.Image {
	return &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}
}
