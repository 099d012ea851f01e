// The interface as OpenAPI describes it, shown by Swagger UI.

window.SwaggerUIBundle({ url: "openapi.json", domNode: document.getElementById("interface"), validatorUrl: null });
