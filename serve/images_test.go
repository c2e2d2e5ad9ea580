package serve

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/reuse"
)

// pixelsOf decodes a PNG file to the bytes of red, green and blue.
func pixelsOf(t testing.TB, file []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var pixels []byte
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			pixels = append(pixels, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return pixels
}

// TestImages checks that images are those of the library for the same seed, and what is said of
// them.
func TestImages(t *testing.T) {
	s := newTester(t, Options{})
	fora, err := reuse.Parse("fora:n=2")
	if err != nil {
		t.Fatal(err)
	}
	sampling := tokencache.Sampling{Steps: 6, Guidance: 1.5}
	for _, test := range []struct {
		name, body string
		want       tokencache.Request
	}{
		{"one", `{"prompt":"3","seed":7}`, tokencache.Request{Classes: []int{3}, Seed: 7, Sampling: sampling}},
		{"several", `{"prompt":"3","n":3,"seed":7}`, tokencache.Request{Classes: []int{3, 3, 3}, Seed: 7,
			Sampling: sampling}},
		{"classes in turn", `{"prompt":"3,5","n":3,"seed":7}`, tokencache.Request{Classes: []int{3, 5, 3}, Seed: 7,
			Sampling: sampling}},
		{"class", `{"prompt":"whatever","class":4,"seed":"18446744073709551615"}`,
			tokencache.Request{Classes: []int{4}, Seed: 1<<64 - 1, Sampling: sampling}},
		{"policy", `{"prompt":"1","seed":1,"policy":"fora:n=2","steps":8,"guidance":1}`,
			tokencache.Request{Classes: []int{1}, Seed: 1, Policy: fora, Sampling: tokencache.Sampling{Steps: 8}}},
		{"sampler", `{"prompt":"1","seed":1,"sampler":"ddpm","steps":"logsnr5"}`, tokencache.Request{Classes: []int{1},
			Seed:     1,
			Sampling: tokencache.Sampling{Sampler: "ddpm", Steps: 5, Spacing: "logsnr", Guidance: 1.5}}},
		{"nulls and what says " +
			"nothing", `{"prompt":"3","model":null,"seed":7,"size":"auto","quality":"high","style":"vivid","user":"u","moderation":"low"}`,
			tokencache.Request{Classes: []int{3}, Seed: 7, Sampling: sampling}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.images(test.body)
			want := wantPixels(t, test.want)
			if len(got.Data) != len(want) {
				t.Fatalf("%d images, want %d", len(got.Data), len(want))
			}
			for i, d := range got.Data {
				if !bytes.Equal(pixelsOf(t, d.File), want[i]) {
					t.Errorf("image %d is another than the library's", i)
				}
				texts, err := raster.DecodeTexts(bytes.NewReader(d.File))
				if err != nil || !slices.Contains(texts, raster.Text{Key: "seed", Value: fmt.Sprint(test.want.Seed)}) {
					t.Errorf("texts %v, error %v", texts, err)
				}
			}
			if got.Seed != test.want.Seed || got.Size != "8x8" || got.Model != "tiny" || got.FLOPs <= 0 {
				t.Errorf("answer %+v", got)
			}
			if cached := test.want.Policy != nil; cached != (got.Ratio < 1) || got.Ratio <= 0 {
				t.Errorf("computed-token ratio %g", got.Ratio)
			}
		})
	}
}

// TestFormats checks that a request is served in the number format that it names, next to others,
// and that formats are no models of their own to clients.
func TestFormats(t *testing.T) {
	s := newTester(t, Options{})
	for _, test := range []struct {
		dtype string
		want  tokencache.DType
	}{
		{"bf16", tokencache.BF16}, {"int8", tokencache.INT8}, {"f32", tokencache.F32},
		{"float32", tokencache.F32}, {"auto", tokencache.F32},
	} {
		t.Run(test.dtype, func(t *testing.T) {
			got := s.images(fmt.Sprintf(`{"prompt":"3","seed":7,"n":2,"dtype":%q}`, test.dtype))
			want := wantPixelsIn(t, tokencache.Request{
				Classes:  []int{3, 3},
				Seed:     7,
				Sampling: tokencache.Sampling{Steps: 6, Guidance: 1.5},
			}, test.want)
			for i, d := range got.Data {
				if !bytes.Equal(pixelsOf(t, d.File), want[i]) {
					t.Errorf("image %d is another than the library's", i)
				}
			}
			if got.DType != test.want.String() || got.Model != "tiny" {
				t.Errorf("answer %+v", got)
			}
		})
	}
	if loaded := s.models.loaded(); len(loaded) != 3 {
		t.Errorf("%d formats are open, want 3", len(loaded))
	}
	if names := s.models.names(); !slices.Equal(names, []string{"tiny"}) {
		t.Errorf("models %q", names)
	}
}

// TestInvalid checks that what is wrong with a request is answered with 400 and the field's name.
func TestInvalid(t *testing.T) {
	s := newTester(t, Options{})
	deep := strings.Repeat("[", 50) + strings.Repeat("]", 50)
	for _, test := range []struct{ body, param string }{
		{``, "body"}, {`{`, "body"}, {`[]`, "body"}, {`7`, "body"}, {`"x"`, "body"}, {`{"prompt":"1"} x`, "body"},
		{`{"prompt":"1"`, "body"}, {"{\"prompt\":\"\xff\"}", "body"}, {`{"x":` + strings.Repeat("1", maxBody) + `}`, "body"},
		{`{"prompt":` + deep + `}`, "body"},
		{`{}`, "prompt"}, {`{"prompt":3}`, "prompt"}, {`{"prompt":""}`, "prompt"}, {`{"prompt":"eleven"}`, "prompt"},
		{`{"prompt":"11"}`, "prompt"}, {`{"prompt":"` + strings.Repeat("a", maxPrompt+1) + `"}`, "prompt"},
		{`{"prompt":"\u0000"}`, "prompt"}, {`{"prompt":"1,1,1,1,1,1,1,1,1,1,1"}`, "prompt"}, {`{"prompt":["1"]}`, "prompt"},
		{`{"prompt":"1","prompt":"2"}`, "prompt"},
		{`{"prompt":"1","n":0}`, "n"}, {`{"prompt":"1","n":11}`, "n"}, {`{"prompt":"1","n":1.5}`,
			"n"}, {`{"prompt":"1","n":"1"}`, "n"},
		{`{"prompt":"1","n":99999999999999999999}`, "n"}, {`{"prompt":"1","n":true}`, "n"},
		{`{"prompt":"1","model":"tony"}`, "model"}, {`{"prompt":"1","model":"../../etc/passwd"}`,
			"model"}, {`{"prompt":"1","model":7}`, "model"},
		{`{"prompt":"1","size":"1024x1024"}`, "size"}, {`{"prompt":"1","size":8}`, "size"},
		{`{"prompt":"1","output_format":"webp"}`, "output_format"}, {`{"prompt":"1","response_format":"file"}`,
			"response_format"},
		{`{"prompt":"1","output_compression":50}`, "output_compression"}, {`{"prompt":"1","background":"transparent"}`,
			"background"},
		{`{"prompt":"1","stream":"yes"}`, "stream"}, {`{"prompt":"1","partial_images":4}`, "partial_images"},
		{`{"prompt":"1","user":7}`, "user"}, {`{"prompt":"1","quality":"best"}`, "quality"},
		{`{"prompt":"1","seed":-1}`, "seed"}, {`{"prompt":"1","seed":1.5}`, "seed"}, {`{"prompt":"1","seed":1e3}`, "seed"},
		{`{"prompt":"1","seed":18446744073709551616}`, "seed"}, {`{"prompt":"1","seed":NaN}`, "seed"},
		{`{"prompt":"1","steps":0}`, "steps"}, {`{"prompt":"1","steps":1001}`, "steps"}, {`{"prompt":"1","steps":"fast"}`,
			"steps"},
		{`{"prompt":"1","steps":[6]}`, "steps"}, {`{"prompt":"1","steps":"600,600"}`, "steps"},
		{`{"prompt":"1","sampler":"dim"}`, "sampler"}, {`{"prompt":"1","spacing":"wide"}`, "spacing"},
		{`{"prompt":"1","steps":"karras5","spacing":"lu"}`, "spacing"},
		{`{"prompt":"1","guidance":-1}`, "guidance"}, {`{"prompt":"1","guidance":NaN}`,
			"guidance"}, {`{"prompt":"1","guidance":1e999}`, "guidance"},
		{`{"prompt":"1","guidance":"1"}`, "guidance"}, {`{"prompt":"1","guidance":Infinity}`, "guidance"},
		{`{"prompt":"1","negative_prompt":"2"}`, "negative_prompt"},
		{`{"prompt":"1","policy":"foar"}`, "policy"}, {`{"prompt":"1","policy":"/etc"}`,
			"policy"}, {`{"prompt":"1","policy":"fora:n=0"}`, "policy"},
		{`{"prompt":"1","speed":1}`, "speed"}, {`{"prompt":"1","speed":"2y"}`, "speed"}, {`{"prompt":"1","speed":3}`,
			"speed"},
		{`{"prompt":"1","speed":3,"policy":"fora"}`, "speed"}, {`{"prompt":"1","min_psnr":-1}`,
			"min_psnr"}, {`{"prompt":"1","min_psnr":0}`, "min_psnr"}, {`{"prompt":"1","min_psnr":40,"policy":"fora:n=2"}`, "min_psnr"},
		{`{"prompt":"1","dtype":"int4"}`, "dtype"}, {`{"prompt":"1","class":10}`, "class"}, {`{"prompt":"1","class":-1}`,
			"class"}, {`{"prompt":"1","class":{}}`, "class"},
		{`{"prompt":"1","priority":"now"}`, "priority"}, {`{"prompt":"1","deadline":0}`,
			"deadline"}, {`{"prompt":"1","colour":"red"}`, "colour"},
	} {
		name := test.body[:min(40, len(test.body))]
		t.Run(name, func(t *testing.T) {
			status, _, b := s.do("POST", "/v1/images/generations", test.body, "Content-Type", "application/json")
			if status != http.StatusBadRequest {
				t.Fatalf("status %d: %s", status, b)
			}
			got := parse[struct {
				Error struct {
					Message, Type string
					Param, Code   *string
				}
			}](t, b)
			e := got.Error
			if e.Param == nil || *e.Param != test.param || e.Type != "invalid_request_error" || e.Code == nil || e.Message == "" {
				t.Errorf("answer %s, want one that names %s", b, test.param)
			}
		})
	}
	if load := s.models.loaded()["tiny"].Pipeline.Load(); load.Images != 0 {
		t.Errorf("%d images are in flight", load.Images)
	}
}

// sse is a server-sent event.
type sse struct {
	id, name string
	data     map[string]any
}

// readEvents parses a stream.
func readEvents(t testing.TB, b []byte) (list []sse) {
	t.Helper()
	var e sse
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, text, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			e.id = text
		case "event":
			e.name = text
		case "data":
			if err := json.Unmarshal([]byte(text), &e.data); err != nil {
				t.Fatal(err)
			}
		case "":
			if e.name != "" {
				list = append(list, e)
			}
			e = sse{}
		}
	}
	return list
}

// TestStream checks the events of a stream: so many partial images of each image, with the fields
// of the official API, and then the image.
func TestStream(t *testing.T) {
	s := newTester(t, Options{})
	want := s.images(`{"prompt":"3","n":2,"seed":7,"steps":12}`)
	_, header, b := s.do("POST", "/v1/images/generations",
		`{"prompt":"3","n":2,"seed":7,"steps":12,"stream":true,"partial_images":3}`)
	if kind := header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Errorf("content type %s", kind)
	}
	next := map[float64]float64{}
	done := 0
	for _, e := range readEvents(t, b) {
		if e.data["type"] != e.name {
			t.Errorf("event %s has type %v", e.name, e.data["type"])
		}
		for _, field := range []string{"b64_json", "created_at", "size", "quality", "background", "output_format"} {
			if e.data[field] == nil {
				t.Errorf("%s has no %s", e.name, field)
			}
		}
		file, err := base64.StdEncoding.DecodeString(e.data["b64_json"].(string))
		if err != nil {
			t.Fatal(err)
		}
		index := e.data["image_index"].(float64)
		switch e.name {
		case eventPartial:
			if e.data["partial_image_index"] != next[index] {
				t.Errorf("image %v: partial image %v, want %v", index, e.data["partial_image_index"], next[index])
			}
			next[index]++
			pixelsOf(t, file)
		case eventCompleted:
			done++
			if next[index] != 3 || !bytes.Equal(file, want.Data[int(index)].File) || e.data["usage"] == nil {
				t.Errorf("image %v after %v partial images: another than without a stream", index, next[index])
			}
		default:
			t.Errorf("event %s", e.name)
		}
	}
	if done != 2 {
		t.Errorf("%d images were completed, want 2", done)
	}
}

// TestURL checks that images that were asked for as URLs are there, and are the same files.
func TestURL(t *testing.T) {
	s := newTester(t, Options{})
	want := s.images(`{"prompt":"3","seed":7}`)
	got := s.images(`{"prompt":"3","seed":7,"response_format":"url"}`)
	path, ok := strings.CutPrefix(got.Data[0].URL, s.http.URL)
	if !ok || len(got.Data[0].File) > 0 {
		t.Fatalf("URL %s", got.Data[0].URL)
	}
	status, header, file := s.do("GET", path, "")
	if status != http.StatusOK || header.Get("Content-Type") != "image/png" || !bytes.Equal(file, want.Data[0].File) {
		t.Errorf("status %d, %s, equal: %v", status, header.Get("Content-Type"), bytes.Equal(file, want.Data[0].File))
	}
	if status, _, _ := s.do("GET", "/v1/images/img_aaaaaaaaaaaaaaaaaaaaaaaa/content", ""); status != http.StatusNotFound {
		t.Errorf("an unknown image: status %d", status)
	}
}

// TestJPEG checks that a JPEG is one.
func TestJPEG(t *testing.T) {
	s := newTester(t, Options{})
	got := s.images(`{"prompt":"3","seed":7,"output_format":"jpeg","output_compression":80}`)
	if file := got.Data[0].File; http.DetectContentType(file) != "image/jpeg" {
		t.Errorf("it is %s", http.DetectContentType(file))
	}
}
