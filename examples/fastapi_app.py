"""Give pictures back without their faces: uvicorn --app-dir examples fastapi_app:app, then

curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" http://127.0.0.1:8000 -o safe.png
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import cv2
import numpy as np
from fastapi import Body, FastAPI, HTTPException, Request, Response

from streamer import Anonymizer, AnonymizerError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the weights once; all requests share them."""
    with Anonymizer.load() as app.state.anonymizer:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/")
def anonymize(request: Request, photo: Annotated[bytes, Body(media_type="image/*")]) -> Response:
    """Return the picture in the request as PNG, without faces; FastAPI calls this in many threads at the same time."""
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise HTTPException(415, "this is no picture that OpenCV reads")
    try:
        safe = request.app.state.anonymizer.image(picture)
    except AnonymizerError as error:
        raise HTTPException(503, "this picture could not be searched for faces") from error
    return Response(cv2.imencode(".png", safe[:, :, ::-1])[1].tobytes(), media_type="image/png")
