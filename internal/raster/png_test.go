package raster_test

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/internal/raster"
	"pgregory.net/rapid"
)

// gradient is an image in which every byte differs from its neighbours.
func gradient(height, width, channels int) *raster.Image {
	m := &raster.Image{Height: height, Width: width, Channels: channels, Pix: make([]uint8, height*width*channels)}
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	return m
}

var texts = []raster.Text{
	{Key: "seed", Value: "42"},
	{Key: "class", Value: "207 golden retriever"},
	{Key: "Größe", Value: "größer als ein Byte\nzweite Zeile"},
	{Key: "prompt", Value: "日本語, and a tab\t"},
	{Key: "empty", Value: ""},
	{Key: "seed", Value: "a second of the same key"},
}

func TestPNG(t *testing.T) {
	for _, channels := range []int{1, 3} {
		m := gradient(5, 4, channels)
		path := filepath.Join(t.TempDir(), "a.png")
		if err := raster.WritePNG(path, m, texts...); err != nil {
			t.Fatal(err)
		}
		got, err := raster.ReadTexts(path)
		if diff := cmp.Diff(texts, got); err != nil || diff != "" {
			t.Errorf("texts: %v (-want +got):\n%s", err, diff)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pixels := bytes.Index(file, []byte("IDAT"))
		for _, kind := range []string{"tEXt", "iTXt"} {
			if at := bytes.LastIndex(file, []byte(kind)); at < 0 || at > pixels {
				t.Errorf("%s at %d, the pixels at %d", kind, at, pixels)
			}
		}
		// The standard library's decoder verifies every checksum.
		decoded, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range m.Pix {
			r, g, b, a := decoded.At(i/channels%m.Width, i/channels/m.Width).RGBA()
			if rgb := [3]uint32{r, g, b}; rgb[i%channels]>>8 != uint32(want) || a != 0xffff {
				t.Fatalf("byte %d: %v, alpha %d; want %d", i, rgb, a, want)
			}
		}
	}
}

func TestPNGRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := raster.EncodePNG(&b, gradient(2, 2, 4)); err == nil || !strings.Contains(err.Error(), "4 channels") {
		t.Errorf("4 channels: error %v", err)
	}
	for _, text := range []raster.Text{
		{Key: ""}, {Key: " seed"}, {Key: "two  spaces"}, {Key: "日本"}, {Key: "a\nb"}, {Key: strings.Repeat("k", 80)},
		{Key: "zero", Value: "a\x00b"}, {Key: "broken", Value: "\xff"},
	} {
		t.Run(text.Key, func(t *testing.T) {
			if err := raster.EncodePNG(&b, gradient(2, 2, 1), text); err == nil {
				t.Errorf("%q: no error", text)
			}
		})
	}
	if b.Len() != 0 {
		t.Errorf("%d bytes were written all the same", b.Len())
	}
}

func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := raster.Text{Key: "key", Value: rapid.StringMatching(`[^\x00]*`).Draw(t, "value")}
		var b bytes.Buffer
		if err := raster.EncodePNG(&b, gradient(1, 1, 1), want); err != nil {
			t.Fatal(err)
		}
		got, err := raster.DecodeTexts(&b)
		if diff := cmp.Diff([]raster.Text{want}, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// TestBrokenPNG cuts a file off at every place, and changes every byte of its chunks' contents and
// checksums.
func TestBrokenPNG(t *testing.T) {
	var b bytes.Buffer
	if err := raster.EncodePNG(&b, gradient(3, 3, 3), texts...); err != nil {
		t.Fatal(err)
	}
	file := b.Bytes()
	for n := range file {
		if _, err := raster.DecodeTexts(bytes.NewReader(file[:n])); err == nil {
			t.Errorf("no error for the first %d of %d bytes", n, len(file))
		}
		changed := bytes.Clone(file)
		changed[n] ^= 0x20
		if _, err := raster.DecodeTexts(bytes.NewReader(changed)); err == nil {
			t.Errorf("no error with byte %d changed", n)
		}
	}
}

func FuzzDecodeTexts(f *testing.F) {
	for _, channels := range []int{1, 3} {
		var b bytes.Buffer
		if err := raster.EncodePNG(&b, gradient(2, 2, channels), texts...); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() {
			_, _ = raster.DecodeTexts(bytes.NewReader(file)) // must return
		})
	})
}
