package reuse_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/reuse"
)

// FuzzTrained reads the folder of a policy: policy.json with its contract, and what was learned.
func FuzzTrained(f *testing.F) {
	f.Add([]byte(`{"format":1,"method":"teacache","teacache":{"threshold":1,"coefficients":[0,1]}}`), []byte{})
	f.Add([]byte(`{"format":1,"method":"smoothcache","smoothcache":{"compute":{"attn":[1,0],"mlp-3":[1]}}}`), []byte{})
	f.Add([]byte(`{"format":1,"method":"l2c","l2c":{"threshold":0.1}}`), routersFile(f))
	f.Fuzz(func(t *testing.T, policy, learned []byte) {
		bounded.Run(t, len(policy)+len(learned), func() {
			files := fstest.MapFS{reuse.PolicyFile: {Data: policy}, reuse.PredictorFile: {Data: learned}}
			p, err := reuse.OpenFS(files, ".")
			if err == nil && p.String() == "" {
				t.Error("a policy without a name")
			}
		})
	})
}

// FuzzParse reads the texts of policies. What is read has a name that is read again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"none", "fora:n=2", "tokencache:ratio=0.25,k=3", "tokencache:steps=list,i=0+1+4,half=2+6",
		"speca:n=4", "dbcache:f=1,b=0,threshold=0.1", "l2p", "fora:n=9223372036854775807", "a:b=c,d", ":=,",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bounded.Run(t, len(text), func() {
			p, err := reuse.Parse(text)
			if err != nil {
				return
			}
			if _, err := reuse.Parse(p.String()); err != nil {
				t.Errorf("%q is read as %q, which is not read: %v", text, p, err)
			}
		})
	})
}

// FuzzRouters reads the file of a router of Learning-to-Cache, in both forms.
func FuzzRouters(f *testing.F) {
	f.Add(routersFile(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() {
			c, err := checkpoint.NewReader("routers", bytes.NewReader(file), int64(len(file)))
			if err != nil {
				return
			}
			logits, err := reuse.ReadRouters(c)
			for _, row := range logits {
				if err == nil && len(row) != len(logits[0]) {
					t.Errorf("rows of %d and %d routers", len(logits[0]), len(row))
				}
			}
		})
	})
}

// FuzzPredictor reads the file of a predictor of token importance.
func FuzzPredictor(f *testing.F) {
	f.Add(routersFile(f), `{"kind":"dynamic","blocks":1,"tokens":4,"width":8,"heads":2,"mlp_hidden":16}`)
	f.Add([]byte{}, `{"kind":"static","blocks":65536,"tokens":65536,"width":65536,"heads":1,"mlp_hidden":1}`)
	f.Fuzz(func(t *testing.T, values []byte, config string) {
		path := filepath.Join(t.TempDir(), "predictor.safetensors")
		err := checkpoint.WriteSafetensors(path, checkpoint.Content{
			Tensors:  []checkpoint.Info{{Name: "pos_embed", DType: checkpoint.F32, Shape: []int{len(values)}}},
			Metadata: map[string]string{checkpoint.ConfigKey: config},
			Read:     func(string, []float32) error { return nil },
		})
		if err != nil {
			return // a text that is no UTF-8
		}
		file, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		bounded.Run(t, 4*len(values)+len(config), func() { _, _ = reuse.ReadPredictor(file) })
	})
}

// routersFile is a file of routers for 4 steps of 2 blocks.
func routersFile(f *testing.F) []byte {
	f.Helper()
	path := filepath.Join(f.TempDir(), "r")
	if err := (&reuse.L2C{Logits: routers(2, 4)}).Write(path); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return b
}
