package terminal

import (
	"bytes"
	"testing"
)

func TestViewer(t *testing.T) {
	if v := Viewer(new(bytes.Buffer)); v != "" || Show(v, "x.png") {
		t.Errorf("%q opens files without a terminal", v)
	}
	for _, test := range []struct{ system, variable, want string }{
		{"linux", "", ""},
		{"linux", "DISPLAY", "xdg-open"},
		{"freebsd", "WAYLAND_DISPLAY", "xdg-open"},
		{"darwin", "", "open"},
		{"windows", "", "explorer"},
	} {
		t.Run(test.system+" "+test.variable, func(t *testing.T) {
			env := func(name string) string {
				if name == test.variable {
					return ":0"
				}
				return ""
			}
			if got := viewerOf(test.system, env); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
