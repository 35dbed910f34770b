"""Where embeddings come from."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar, Protocol

Vector = list[float]


class EmbeddingProvider(Protocol):
    """Turns texts into vectors of one length."""

    def embed(self, texts: list[str]) -> list[Vector]:
        """Return one vector for each text, in order."""

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""

    @property
    def model_name(self) -> str:
        """Name of the model."""


class OpenAIEmbeddingProvider:
    """Embeddings from the OpenAI API or a server that speaks it (``base_url``).

    ``dimensions`` shortens the vectors of models that can do that. ``api_key`` None leaves the key to the
    client library. Nothing is imported or sent before the first ``embed``, which raises the client's error.
    """

    _SIZES: ClassVar[dict[str, int]] = {
        "text-embedding-3-small": 1536,
        "text-embedding-3-large": 3072,
        "text-embedding-ada-002": 1536,
    }

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        base_url: str | None = None,
        api_key: str | None = None,
        dimensions: int | None = None,
    ) -> None:
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._dimensions = dimensions
        self._client: Any = None

    def _get_client(self) -> Any:
        if self._client is None:
            try:
                module: Any = import_module("openai")
            except ImportError as error:
                raise ImportError("openai not installed. Install with: pip install openai") from error
            options = {"base_url": self._base_url, "api_key": self._api_key}
            self._client = module.OpenAI(**{k: v for k, v in options.items() if v})
        return self._client

    def embed(self, texts: list[str]) -> list[Vector]:
        """Return one vector for each text, in order."""
        request: dict[str, Any] = {"model": self._model, "input": texts}
        if self._dimensions and self._model.startswith("text-embedding-3-"):
            request["dimensions"] = self._dimensions
        reply = self._get_client().embeddings.create(**request)
        # The service does not promise the order of the request.
        return [item.embedding for item in sorted(reply.data, key=lambda item: item.index)]

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._dimensions or self._SIZES.get(self._model, 1536)

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return self._model


class OllamaEmbeddingProvider:
    """Embeddings from an Ollama server; ``timeout`` in seconds for each text.

    ``embed`` raises ``ValueError`` for a model that the server lacks and the HTTP library's errors.
    """

    _SIZES: ClassVar[dict[str, int]] = {
        "nomic-embed-text": 768,
        "mxbai-embed-large": 1024,
        "all-minilm": 384,
        "bge-m3": 1024,
    }

    def __init__(
        self,
        model: str = "nomic-embed-text",
        base_url: str = "http://localhost:11434",
        timeout: float = 60.0,
    ) -> None:
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout

    def embed(self, texts: list[str]) -> list[Vector]:
        """Return one vector for each text, in order."""
        try:
            requests: Any = import_module("requests")
        except ImportError as error:
            raise ImportError("requests not installed. Install with: pip install requests") from error
        vectors: list[Vector] = []
        for text in texts:
            reply = requests.post(
                f"{self._base_url}/api/embeddings",
                json={"model": self._model, "prompt": text},
                timeout=self._timeout,
            )
            if reply.status_code == 404:
                raise ValueError(
                    f"Ollama model '{self._model}' not found. Pull it with: ollama pull {self._model}"
                )
            reply.raise_for_status()
            vectors.append(reply.json()["embedding"])
        return vectors

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._SIZES.get(self._model.split(":")[0], 768)

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return self._model


class Model2VecEmbeddingProvider:
    """Embeddings computed in process by a static model, loaded once for all providers.

    ``model`` is a name or directory that model2vec loads. ``embed`` raises ``ImportError`` without model2vec.
    """

    MODEL_NAME = "minishlab/potion-multilingual-128M"
    DIMENSIONS = 128
    _model: Any = None

    def __init__(self, model: str | None = None) -> None:
        self._model_name = model or self.MODEL_NAME

    def embed(self, texts: list[str]) -> list[Vector]:
        """Return one vector for each text, in order."""
        shared = Model2VecEmbeddingProvider
        if shared._model is None:
            try:
                module: Any = import_module("model2vec")
            except ImportError as error:
                raise ImportError("model2vec not installed. Install with: pip install model2vec") from error
            shared._model = module.StaticModel.from_pretrained(self._model_name)
        encoded = shared._model.encode(texts)
        vectors: list[Vector] = encoded.tolist() if hasattr(encoded, "tolist") else [list(v) for v in encoded]
        return vectors

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self.DIMENSIONS

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return self._model_name


def create_embedding_provider(
    provider: str = "openai",
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    dimensions: int | None = None,
    timeout: float = 60.0,
) -> EmbeddingProvider:
    """Create a provider: ``openai``, ``ollama`` or ``model2vec``. Raises ``ValueError`` for another name."""
    if provider == "openai":
        return OpenAIEmbeddingProvider(model or "text-embedding-3-small", base_url, api_key, dimensions)
    if provider == "ollama":
        return OllamaEmbeddingProvider(
            model or "nomic-embed-text", base_url or "http://localhost:11434", timeout
        )
    if provider == "model2vec":
        return Model2VecEmbeddingProvider(model)
    raise ValueError(f"Unknown embedding provider: {provider}")
