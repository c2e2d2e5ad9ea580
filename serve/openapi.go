package serve

import (
	_ "embed"
	"net/http"
	"time"
)

// document describes the API in OpenAPI's form. TestOpenAPI checks that it says what the code does.
//
//go:embed openapi.json
var document []byte

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	_, _ = w.Write(document) // a client that is gone needs no answer
}
