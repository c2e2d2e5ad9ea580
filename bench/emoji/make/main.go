// Command make writes the data set of bench/emoji/prepare: make NOTO FLUENT OUT.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"golang.org/x/image/webp"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/regularfile"
)

const side = 64 // of the images, in pixels

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: make NOTO FLUENT OUT")
		os.Exit(2)
	}
	if err := makeSet(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "make:", err)
		os.Exit(1)
	}
}

// line is a line of captions.jsonl and of heldout.jsonl.
type line struct {
	File     string   `json:"file"`
	Thing    string   `json:"thing"` // code points
	Style    string   `json:"style"`
	Captions []string `json:"captions"`
	Mirror   bool     `json:"mirror,omitempty"`
	HeldOut  string   `json:"held_out,omitempty"` // "style" or "combination"
}

// combinations are left out in both styles: a colour and a shape that occur apart from each other.
var combinations = map[string]bool{
	"1f9e1": true, // orange heart
	"1f7e3": true, // purple circle
	"1f7e9": true, // green square
	"1f4d9": true, // orange book
}

// style is a set of images.
type style struct {
	name   string
	path   func(code string) string
	decode func(*os.File) (image.Image, error)
}

func makeSet(noto, fluent, out string) error {
	things, err := readThings(filepath.Join(noto, "emoji.json"))
	if err != nil {
		return err
	}
	files, err := fluentFiles(fluent)
	if err != nil {
		return err
	}
	styles := []style{
		{"noto", func(code string) string { return filepath.Join(noto, "img", "google", "64", code+".png") },
			func(f *os.File) (image.Image, error) { return png.Decode(f) }},
		{"3d", func(code string) string { return files[bare(code)] },
			func(f *os.File) (image.Image, error) { return webp.Decode(f) }},
	}
	var seen, heldOut []line
	for _, t := range things {
		for s, st := range styles {
			path := st.path(t.code)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			l := line{
				File:     filepath.Join(st.name, t.code+".png"),
				Thing:    t.code,
				Style:    st.name,
				Captions: t.captions(st.name),
				Mirror:   t.mirror,
			}
			h := fnv.New32a()
			h.Write([]byte(t.code))
			switch pick := int(h.Sum32() % 24); {
			case combinations[t.code]:
				l.HeldOut = "combination"
			case pick == s && files[bare(t.code)] != "":
				l.HeldOut = "style" // the other style of the same thing is seen
			}
			if err := convert(path, st.decode, filepath.Join(out, l.File)); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if l.HeldOut != "" {
				heldOut = append(heldOut, l)
			} else {
				seen = append(seen, l)
			}
		}
	}
	fmt.Printf("%d images to train on, %d held out\n", len(seen), len(heldOut))
	if err := writeLines(filepath.Join(out, "heldout.jsonl"), heldOut); err != nil {
		return err
	}
	return writeLines(filepath.Join(out, "captions.jsonl"), seen)
}

// convert writes an image on white as a PNG of side x side pixels.
func convert(path string, decode func(*os.File) (image.Image, error), to string) error {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	src, err := decode(f)
	if err != nil {
		return err
	}
	b := src.Bounds()
	m, err := raster.New(b.Dy(), b.Dx(), 3)
	if err != nil {
		return err
	}
	for y := range m.Height {
		for x := range m.Width {
			r, g, bl, a := src.At(b.Min.X+x, b.Min.Y+y).RGBA() // premultiplied
			for c, v := range [3]uint32{r, g, bl} {
				m.Row(y)[3*x+c] = uint8((v + 0xffff - a) / 0x101)
			}
		}
	}
	if m, err = raster.Resize(m, side, side, raster.Bicubic); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return raster.WritePNG(to, m)
}

func writeLines(path string, lines []line) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	encoder := json.NewEncoder(w)
	for _, l := range lines {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
