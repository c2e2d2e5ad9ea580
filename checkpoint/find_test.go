package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindWeights(t *testing.T) {
	for _, c := range []struct {
		name  string
		files string
		want  string // the file, or what the error says
		fails bool
	}{
		{"published names", "model.safetensors model.pt other.bin", "model.safetensors", false},
		{"the only file", "0400000.pt config.json", "0400000.pt", false},
		{
			"shards",
			"m-00001-of-00002.safetensors m-00002-of-00002.safetensors m.safetensors.index.json",
			"m.safetensors.index.json",
			false,
		},
		{"shards of .bin", "m-00001-of-00002.bin m-00002-of-00002.bin m.bin.index.json", "m.bin.index.json", false},
		{"a variant", "m.fp16.safetensors config.json", "m.fp16.safetensors", false},
		{"a variant of two formats", "m.fp16.bin m.fp16.safetensors", "m.fp16.safetensors", false},
		{
			"a variant's index",
			"m.fp16-00001-of-00001.safetensors m.fp16.safetensors.index.json",
			"m.fp16.safetensors.index.json",
			false,
		},
		{
			"its older spelling",
			"m.fp16-00001-of-00001.safetensors m.safetensors.index.fp16.json",
			"m.safetensors.index.fp16.json",
			false,
		},
		{
			"shards of a variant under the older spelling",
			"m-00001-of-00002.fp16.safetensors m-00002-of-00002.fp16.safetensors m.safetensors.index.fp16.json",
			"m.safetensors.index.fp16.json",
			false,
		},
		{
			"a whole file before an index",
			"m.safetensors m-00001-of-00001.safetensors m.safetensors.index.json",
			"m.safetensors",
			false,
		},
		{"an average of nothing there", "model.safetensors ema_stats.pt", "model.safetensors", false},
		{"what is not the average", "model.safetensors model.non_ema.safetensors", "model.safetensors", false},
		{"a trainer's state", "m.bin optimizer.bin random_states_0.pt scheduler.bin", "m.bin", false},
		{"several averages", "m.pt m_ema.pt ema_m.pt", "several files that may be the weights (ema_m.pt, m_ema.pt)", true},
		{"several", "a.pt b.pt", "several files that may be the weights (a.pt, b.pt)", true},
		{"two variants", "m.fp16.safetensors m.non_ema.safetensors", "several files", true},
		{"shards alone", "m-00001-of-00002.safetensors m-00002-of-00002.safetensors", "not their index", true},
		{"nothing", "config.json README.md", "no weights", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range strings.Fields(c.files) {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			found, err := LookForWeights(dir)
			got := found.Path
			if found.Assumed != "" {
				t.Errorf("assumed %q", found.Assumed)
			}
			if c.fails {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want one with %q", err, c.want)
				}
				return
			}
			if err != nil || filepath.Base(got) != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

// TestFindAverage checks that an average is preferred to the weights next to it, and that this is
// said.
func TestFindAverage(t *testing.T) {
	for _, c := range []struct{ files, want, next string }{
		{"model.safetensors model_ema.safetensors", "model_ema.safetensors", "model.safetensors"},
		{"m.pt m.ema.pt m.ema.safetensors", "m.ema.safetensors", "m.pt"},
		{"net.pt net_ema_0.9999.pt", "net_ema_0.9999.pt", "net.pt"},
		{"model.pt ema.pt", "ema.pt", "model.pt"},
		{"netEMA.pt net.pt", "netEMA.pt", "net.pt"},
		{"m.ema.safetensors m.non_ema.safetensors", "m.ema.safetensors", "m.non_ema.safetensors"},
		{"m.bin m_ema.bin.index.json m_ema-00001-of-00001.bin", "m_ema.bin.index.json", "m.bin"},
	} {
		dir := t.TempDir()
		for _, name := range strings.Fields(c.files) {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := LookForWeights(dir)
		want := Found{filepath.Join(dir, c.want), "the weights are " + c.want + ", an average; next to it: " + c.next}
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", c.files, got, err, want)
		}
	}
}

func TestFindNetwork(t *testing.T) {
	for _, c := range []struct{ folders, want, assumed string }{
		{"scheduler transformer vae", "transformer", ""},
		{"transformer transformer_ema", "transformer_ema", "those in transformer_ema, an average, not in transformer"},
		{"transformer_ema vae", "transformer_ema", ""},
		{"transformer_2 unet", "", ""},
	} {
		dir := t.TempDir()
		for _, name := range strings.Fields(c.folders) {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		got, err := FindNetwork(dir)
		want := ""
		if c.want != "" {
			want = filepath.Join(dir, c.want)
		}
		if err != nil || got.Path != want || !strings.Contains(got.Assumed, c.assumed) || (got.Assumed == "") != (c.assumed == "") {
			t.Errorf("%s: got %+v, %v, want %s", c.folders, got, err, c.want)
		}
	}
}

// TestReadText checks that what is no text of a file is refused before anything is read of it.
func TestReadText(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	large := write("large.json", "{}")
	if err := os.Truncate(large, MaxText+1); err != nil {
		t.Fatal(err)
	}
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
	for path, want := range map[string]string{
		dir:                            "a folder, not a regular file",
		os.DevNull:                     "not a regular file",
		large:                          "want at most 16777216",
		write("pointer.json", pointer): "Git LFS pointer",
	} {
		if _, err := ReadText(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if b, err := ReadText(write("good.json", "{}")); err != nil || string(b) != "{}" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := ReadText(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Open(write("model.safetensors", pointer)); !errors.Is(err, ErrPointer) {
		t.Errorf("a pointer in place of weights: %v", err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"blocks.0.attn.qkv.weight": "",
		"poids.é":                  "",
		"w\x1b]0;title\x07":        `"w\x1b]0;title\a"`,
		"a\nb":                     "cannot be printed",
		"\xff":                     "cannot be printed",
		strings.Repeat("x", 2000):  "a tensor's name of 2000 bytes",
	} {
		err := checkName(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: error %v, want one with %q", name, err, want)
		}
		if s := Clean(name); len(s) > 220 || !printable(s) {
			t.Errorf("cleaned: %q", s)
		}
	}
}
